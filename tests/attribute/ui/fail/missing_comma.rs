use daemon_rt::daemon;

#[daemon(user = "nobody" group = "nogroup")]
fn main() {}
