use daemon_rt::daemon;

#[daemon(configure = configure)]
fn main() {}

fn configure(_: &mut daemon_rt::Daemon) {}
