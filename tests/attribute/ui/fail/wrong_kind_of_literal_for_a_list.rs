use daemon_rt::daemon;

#[daemon(groups = "adm")]
fn main() {}
