use daemon_rt::daemon;

#[daemon(pidfile, runtime_directory, state_directory, stdout, stderr, log_size = 10_000_000, user = 1000, groups = [], keep_env = [], no_new_privs, umask = 7, working_directory = "keep", start_timeout = "2m", stop_timeout = "30s", limits = ["core=0"], nice = -5, oom_score_adj = 1000, cpu_affinity = "0-3,8", mode = "auto")]
fn main() {}
