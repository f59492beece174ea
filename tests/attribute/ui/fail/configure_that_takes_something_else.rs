use daemon_rt::daemon;

#[daemon(configure = configure)]
fn main() {}

fn configure(name: &mut String) -> std::io::Result<()> {
    name.clear();
    Ok(())
}
