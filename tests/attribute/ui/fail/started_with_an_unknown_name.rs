use daemon_rt::daemon;

#[daemon(started = "the greeter runs, pid {id}")]
fn main() {}
