use daemon_rt::daemon;

#[daemon(nice = 20)]
fn main() {}
