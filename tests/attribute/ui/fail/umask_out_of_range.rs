use daemon_rt::daemon;

#[daemon(umask = 0o1777)]
fn main() {}
