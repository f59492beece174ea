use daemon_rt::daemon;

#[daemon(stderr = "journald")]
fn main() {}
