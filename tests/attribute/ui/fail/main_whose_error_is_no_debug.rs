use daemon_rt::daemon;

struct Fault;

#[daemon]
fn main() -> Result<(), Fault> {
    Err(Fault)
}
