use daemon_rt::daemon;

#[daemon(capabilities = ["cap_net_raw"])]
fn main() {}
