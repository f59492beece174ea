use daemon_rt::daemon;

#[daemon]
const fn main() {}
