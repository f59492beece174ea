use daemon_rt::daemon;

#[daemon]
fn serve(port: u16) {
    let _ = port;
}

fn main() {
    serve();
}
