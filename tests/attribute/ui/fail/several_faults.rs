use daemon_rt::daemon;

#[daemon(
    pidfile = "greeter.pid",
    usr = "nobody",
    umask = 0o1777,
    groups = ["adm", ""],
    init = bind(),
    start_timeout = "soon"
)]
async fn main<T>() {}
