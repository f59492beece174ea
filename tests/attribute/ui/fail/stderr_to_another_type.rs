use daemon_rt::daemon;

#[daemon(stderr = Some("journal"))]
fn main() {}
