use daemon_rt::daemon;

#[daemon(pidfile, stdout, stderr, user = 1000, groups = [], keep_env = [], no_new_privs, umask = 7, working_directory = "keep", start_timeout = "2m", mode = "auto")]
fn main() {}
