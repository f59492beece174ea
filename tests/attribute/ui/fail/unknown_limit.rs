use daemon_rt::daemon;

#[daemon(limits = ["nofiles=1024"])]
fn main() {}
