use daemon_rt::daemon;

#[daemon(groups = ["adm" "ssl-cert"])]
fn main() {}
