use daemon_rt::daemon;

#[daemon(started = |started| println!("{}", started.pid))]
fn main() {}
