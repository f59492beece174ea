use daemon_rt::daemon;

#[daemon(pidfile = "/run/greeter.pid", already_running = "ignore")]
fn main() {}
