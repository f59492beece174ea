use daemon_rt::daemon;

#[daemon(capabilities = ["CAP_NET_BIND"])]
fn main() {}
