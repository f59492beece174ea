use daemon_rt::daemon;

#[daemon(start_timeout = "30 seconds")]
fn main() {}
