use daemon_rt::daemon;

#[daemon(umask = "022")]
fn main() {}
