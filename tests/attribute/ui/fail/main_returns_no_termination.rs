use daemon_rt::daemon;

#[daemon]
fn main() -> u8 {
    1
}
