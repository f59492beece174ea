use std::io;

use daemon_rt::daemon;

#[daemon(init = init)]
fn serve(port: u16) {
    let _ = port;
}

fn init() -> io::Result<u16> {
    Ok(1)
}

fn main() {
    serve(1);
}
