use daemon_rt::daemon;

#[daemon("/run/greeter.pid")]
fn main() {}
