use daemon_rt::daemon;

#[daemon(started = MESSAGE)]
fn main() {}

const MESSAGE: &str = "running, pid {pid}";
