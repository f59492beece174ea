use daemon_rt::daemon;

#[daemon(stop_timeout = "0s")]
fn main() {}
