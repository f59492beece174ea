use daemon_rt::daemon;

#[daemon(cpu_affinity = 3)]
fn main() {}
