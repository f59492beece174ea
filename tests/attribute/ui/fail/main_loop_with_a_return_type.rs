use daemon_rt::daemon;

#[daemon(main_loop = serve)]
fn main() -> std::io::Result<()> {
    Ok(())
}

fn serve() {}
