use daemon_rt::daemon;

#[daemon(pidfile = "greeter.pid")]
fn main() {}
