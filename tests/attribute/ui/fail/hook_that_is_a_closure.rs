use daemon_rt::daemon;

#[daemon(init = |a, b| Ok(a))]
fn main() {}
