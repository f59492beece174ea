use daemon_rt::daemon;

#[daemon(colour = "red")]
fn main() {}
