use daemon_rt::daemon;

#[daemon(keep_env = ["RUST_LOG", 7])]
fn main() {}
