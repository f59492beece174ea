use daemon_rt::daemon;

#[daemon(pidfile = 3 + 4)]
fn main() {}
