use daemon_rt::daemon;

#[daemon]
fn serve() {}

fn main() {
    serve();
}
