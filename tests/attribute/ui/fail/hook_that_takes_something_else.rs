use daemon_rt::daemon;

#[daemon(privileged_init = open, init = bind)]
fn main() {}

fn open() -> std::io::Result<u16> {
    Ok(80)
}

fn bind(name: String) -> std::io::Result<()> {
    drop(name);
    Ok(())
}
