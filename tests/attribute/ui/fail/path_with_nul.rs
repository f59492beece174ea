use daemon_rt::daemon;

#[daemon(chroot = "/srv/gree\0ter")]
fn main() {}
