use daemon_rt::daemon;

#[daemon(init)]
fn main() {}
