use daemon_rt::daemon;

#[daemon(start_timeout = "0s")]
fn main() {}
