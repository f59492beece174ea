use daemon_rt::daemon;

#[daemon(init = init, main_loop = serve)]
fn main() {}

fn init() -> std::io::Result<u8> {
    Ok(1)
}

fn serve(state: String) {
    drop(state);
}
