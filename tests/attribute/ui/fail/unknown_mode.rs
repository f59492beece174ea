use daemon_rt::daemon;

#[daemon(mode = "background")]
fn main() {}
