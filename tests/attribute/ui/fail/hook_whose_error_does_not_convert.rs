use daemon_rt::daemon;

#[daemon(init = bind)]
fn main() {}

struct Fault;

fn bind() -> Result<(), Fault> {
    Err(Fault)
}
