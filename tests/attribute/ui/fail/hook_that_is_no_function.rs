use daemon_rt::daemon;

#[daemon(init = BIND)]
fn main() {}

const BIND: u8 = 1;
