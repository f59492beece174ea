mod runtime {
    pub(crate) use daemon_rt::{Daemon, Mode, daemon};
}

#[runtime::daemon(mode = "foreground", crate = self::runtime)]
fn main() {}
