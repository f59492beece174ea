use daemon_rt::daemon;

#[daemon(init = bind())]
fn main() {}

fn bind() -> std::io::Result<()> {
    Ok(())
}
