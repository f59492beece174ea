use daemon_rt::daemon;

#[daemon(configure = configure)]
fn main() {}

fn configure() -> std::io::Result<()> {
    Ok(())
}
