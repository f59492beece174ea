use daemon_rt::daemon;

#[daemon(main_loop = serve)]
fn main() {}

fn serve() -> u8 {
    1
}
