use daemon_rt::{Daemon, daemon};

#[daemon(configure = configure, privileged_init = bind, init = open)]
fn main() -> anyhow::Result<()> {
    anyhow::bail!("a fault")
}

fn configure(_: &mut Daemon) -> Result<(), String> {
    Err(format!("a {}", "fault"))
}

fn bind() -> Result<(), &'static str> {
    Err("a fault")
}

fn open() -> anyhow::Result<()> {
    anyhow::bail!("a fault")
}
