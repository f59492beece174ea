use daemon_rt::daemon;

#[daemon(stdout = 1)]
fn main() {}
