use daemon_rt::daemon;

#[daemon(umask = mask())]
fn main() {}

unsafe fn mask() -> u32 {
    0o022
}
