use daemon_rt::daemon;

#[daemon(main_loop = serve, defer_ready)]
fn main() {}

fn serve() {}
