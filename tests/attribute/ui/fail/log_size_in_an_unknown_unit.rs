use daemon_rt::daemon;

#[daemon(stderr = "/var/log/greeter.log", log_size = "10MB")]
fn main() {}
