use daemon_rt::daemon;

#[daemon(user = "nobody")]
#[daemon]
fn main() {}
