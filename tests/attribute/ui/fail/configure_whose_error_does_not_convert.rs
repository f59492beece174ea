use daemon_rt::daemon;

#[daemon(configure = configure)]
fn main() {}

struct Fault;

fn configure(_: &mut daemon_rt::Daemon) -> Result<(), Fault> {
    Err(Fault)
}
