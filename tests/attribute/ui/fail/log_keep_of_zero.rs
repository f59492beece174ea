use daemon_rt::daemon;

#[daemon(stderr = "/var/log/greeter.log", log_size = "10M", log_keep = 0)]
fn main() {}
