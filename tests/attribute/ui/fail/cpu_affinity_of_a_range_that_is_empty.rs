use daemon_rt::daemon;

#[daemon(cpu_affinity = "0,8-3")]
fn main() {}
