use daemon_rt::daemon;

#[daemon(crate = ::demon_rt)]
fn main() {}
