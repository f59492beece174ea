use daemon_rt::daemon;

#[daemon(name = "my/greeter")]
fn main() {}
