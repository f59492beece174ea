use daemon_rt::daemon;

#[daemon]
fn serve<T>() {}

fn main() {
    serve();
}
