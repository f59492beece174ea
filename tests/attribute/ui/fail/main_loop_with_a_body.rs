use daemon_rt::daemon;

#[daemon(main_loop = serve)]
fn main() {
    serve();
}

fn serve() {}
