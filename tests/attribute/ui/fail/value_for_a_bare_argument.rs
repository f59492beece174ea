use daemon_rt::daemon;

#[daemon(defer_ready = true)]
fn main() {}
