use daemon_rt::daemon;

#[daemon(pidfile = 7)]
fn main() {}
