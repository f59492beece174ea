use daemon_rt::daemon;

#[daemon]
fn main(state: u8) {
    let _ = state;
}
