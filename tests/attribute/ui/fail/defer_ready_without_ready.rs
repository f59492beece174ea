use daemon_rt::daemon;

#[daemon(defer_ready)]
fn main() {}
