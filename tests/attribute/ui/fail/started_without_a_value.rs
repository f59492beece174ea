use daemon_rt::daemon;

#[daemon(started)]
fn main() {}
