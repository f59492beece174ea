use daemon_rt::daemon;

#[daemon(init = bind)]
fn main() {}

fn bind(port: u16) -> std::io::Result<()> {
    let _ = port;
    Ok(())
}
