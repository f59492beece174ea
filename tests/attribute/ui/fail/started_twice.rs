use daemon_rt::daemon;

#[daemon(started = "running", started = "running, pid {pid}")]
fn main() {}
