use daemon_rt::daemon;

#[daemon(chroot = "keep")]
fn main() {}
