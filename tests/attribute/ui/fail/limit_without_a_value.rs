use daemon_rt::daemon;

#[daemon(limits = ["nofile"])]
fn main() {}
