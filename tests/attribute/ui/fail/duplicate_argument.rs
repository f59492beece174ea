use daemon_rt::daemon;

#[daemon(user = "nobody", group = "nogroup", user = "daemon")]
fn main() {}
