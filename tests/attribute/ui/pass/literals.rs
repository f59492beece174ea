use daemon_rt::daemon;

#[daemon(
    name = "greeter",
    pidfile = "/run/greeter.pid",
    user = "nobody",
    group = 65534,
    groups = ["adm", 5],
    chroot = "/srv/greeter",
    working_directory = r"/data",
    umask = 0o027,
    keep_env = ["RUST_LOG", "GREETER_*"],
    stdout = "/var/log/greeter.log",
    stderr = "journal",
    log_size = "10M",
    log_keep = 5,
    capabilities = ["CAP_NET_BIND_SERVICE", "CAP_CHECKPOINT_RESTORE"],
    no_new_privs = false,
    start_timeout = "1500ms",
    mode = "detach",
    already_running = "wait",
)]
fn main() {}
