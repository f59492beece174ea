use daemon_rt::daemon;

#[daemon(stdout = "syslog")]
fn main() {}
