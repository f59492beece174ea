use daemon_rt::daemon;

#[daemon(init = bind)]
fn main() {}
