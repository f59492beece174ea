use daemon_rt::daemon;

#[daemon(started = "running, pid {}")]
fn main() {}
