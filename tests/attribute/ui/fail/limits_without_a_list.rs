use daemon_rt::daemon;

#[daemon(limits = "nofile=1024")]
fn main() {}
