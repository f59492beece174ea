use daemon_rt::daemon;

#[daemon(user = -1)]
fn main() {}
