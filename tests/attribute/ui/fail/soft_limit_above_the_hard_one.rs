use daemon_rt::daemon;

#[daemon(limits = ["nofile=2:1"])]
fn main() {}
