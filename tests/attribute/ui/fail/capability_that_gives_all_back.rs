use daemon_rt::daemon;

#[daemon(capabilities = ["CAP_SETUID"])]
fn main() {}
