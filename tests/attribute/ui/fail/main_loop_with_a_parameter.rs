use daemon_rt::daemon;

#[daemon(main_loop = serve)]
fn main(_: u8) {}

fn serve() {}
