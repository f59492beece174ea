use daemon_rt::daemon;

#[daemon(runtime_directory = "greeter")]
fn main() {}
