use daemon_rt::daemon;

#[daemon(pid_fil = "/run/greeter.pid")]
fn main() {}
