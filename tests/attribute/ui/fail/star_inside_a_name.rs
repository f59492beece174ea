use daemon_rt::daemon;

#[daemon(keep_env = ["LC_*_X"])]
fn main() {}
