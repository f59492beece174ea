use daemon_rt::daemon;

#[daemon(pidfile no_new_privs)]
fn main() {}
