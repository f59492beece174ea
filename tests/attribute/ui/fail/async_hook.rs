use daemon_rt::daemon;

#[daemon(init = bind)]
fn main() {}

async fn bind() -> std::io::Result<()> {
    Ok(())
}
