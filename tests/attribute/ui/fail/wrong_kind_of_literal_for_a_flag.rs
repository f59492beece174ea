use daemon_rt::daemon;

#[daemon(no_new_privs = "yes")]
fn main() {}
