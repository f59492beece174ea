use daemon_rt::daemon;

#[daemon(started = 1)]
fn main() {}
