use daemon_rt::daemon;

#[daemon(user("nobody"))]
fn main() {}
