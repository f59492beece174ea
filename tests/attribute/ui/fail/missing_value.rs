use daemon_rt::daemon;

#[daemon(user)]
fn main() {}
