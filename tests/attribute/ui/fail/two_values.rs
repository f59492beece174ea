use daemon_rt::daemon;

#[daemon(user = "nobody" "nogroup")]
fn main() {}
