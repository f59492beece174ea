use daemon_rt::daemon;

#[daemon(started = "running, pid {pid")]
fn main() {}
