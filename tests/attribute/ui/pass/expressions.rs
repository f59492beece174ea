use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use daemon_rt::{AlreadyRunning, Log, Mode, NameOrId, daemon};

#[allow(non_upper_case_globals)]
const daemon: &str = "greeter";
const MASK: u32 = 0o022;
#[allow(non_upper_case_globals)]
static name: &str = "greeter";

struct Paths {
    log: PathBuf,
}

fn paths() -> Paths {
    Paths { log: PathBuf::from("/var/log").join(daemon) }
}

fn fewer(one: u32, other: u32) -> bool {
    one < other
}

#[daemon(
    name = daemon,
    pidfile = concat!("/run/", env!("CARGO_PKG_NAME"), ".pid"),
    user = std::env::var("GREETER_USER").unwrap_or_else(|_| "nobody".to_owned()),
    group = NameOrId::Id(5),
    groups = Vec::<NameOrId>::new(),
    chroot = paths().log,
    working_directory = if name == daemon { "/" } else { "/tmp" },
    umask = MASK | 0o700 & !0o500,
    keep_env = [OsString::from("RUST_LOG")],
    stdout = if fewer(MASK, 1) { Log::Journal } else { Log::from(&paths().log) },
    stderr = [PathBuf::new(), paths().log].concat_all(),
    capabilities = ["CAP_KILL", "CAP_CHOWN"].map(str::to_lowercase).map(|one| one.to_uppercase()),
    no_new_privs = MASK < 1 || fewer(MASK, 2),
    start_timeout = Duration::from_secs(3) * 2,
    mode = if fewer(1, MASK) { Mode::Auto } else { Mode::Foreground },
    already_running = AlreadyRunning::default()
)]
fn main() {}

trait ConcatAll {
    fn concat_all(self) -> PathBuf;
}

impl<const N: usize> ConcatAll for [PathBuf; N] {
    fn concat_all(self) -> PathBuf {
        self.into_iter().collect()
    }
}
