use daemon_rt::daemon;

#[daemon(stderr = "/var/log/greeter.log", log_size = 10_000_000)]
fn main() {}
