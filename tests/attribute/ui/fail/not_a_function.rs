use daemon_rt::daemon;

#[daemon]
struct Service;

fn main() {
    let _ = Service;
}
