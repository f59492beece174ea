//! Whole daemons, looked at from outside.
//!
//! A test owns a [`Scene`]: a directory and a *keeper*, a process that starts commands the way a
//! shell does, adopts what they leave behind, tells with what status each ended, and kills all of
//! it when the test is over, however it ended. What is started can be given surroundings as hostile
//! as one likes ([`Launch`]); what came of it is looked at from outside, through /proc ([`Proc`]).
//!
//! ```no_run
//! use daemon_harness::{Scene, bin};
//!
//! let scene = Scene::new();
//! let started = scene.launch(bin("svc")).set("pidfile", scene.pidfile()).hostile().run();
//! started.assert_ready();
//! let daemon = scene.daemon();
//! assert_eq!(Some(daemon.pid()), scene.pid_in_pidfile());
//! assert_eq!((daemon.stat().tty_nr, daemon.ignored()), (0, vec![libc::SIGPIPE]));
//! daemon.signal(libc::SIGTERM);
//! assert!(scene.exit_status(&daemon).success());
//! scene.assert_no_leftovers();
//! ```
//!
//! Nothing process-wide is ever done in the test process, so that tests run in parallel in the
//! threads of one process.
//!
//! | module | holds |
//! | --- | --- |
//! | `scene` | [`Scene`]: the directory, the keeper, waiting, leftovers |
//! | `launch` | [`Launch`]: what to start, and in what surroundings |
//! | `outcome` | [`Running`], [`Started`]: a start under way, and what came of it |
//! | `proc` | [`Proc`]: a process seen through /proc |
//! | `stranger` | [`Stranger`]: a process that gets the number of one that has ended, and must not be hit |
//! | `terminal` | [`Terminal`]: a pseudo-terminal whose other end the test holds |
//! | [`noise`] | what else there is on a machine, and must not be noticed |
//! | [`managers`] | service managers, each in a machine of its own |
//! | `witness` | what is left of a scene's services, by the programs that processes run |
//! | [`rough`] | what a service does whose code is not polite |
//! | `files` | what tests do to files that std has no function for |
//! | `require` | [`require!`]: tests that need root or a tool, and say so |
//! | [`trace`] | a start, followed from system call to system call |
//! | [`keeper`] | the keeper of a scene |
//! | `protocol`, `enter`, `sys` | what test and keeper say to each other; what the keeper does before it executes |

#![allow(clippy::missing_panics_doc, clippy::missing_errors_doc)] // A harness panics: that is how a test fails.

mod enter;
mod files;
pub mod keeper;
mod keeper_link;
mod launch;
pub mod managers;
pub mod noise;
mod outcome;
mod proc;
mod protocol;
pub mod require;
pub mod rough;
mod scene;
mod stranger;
mod sys;
mod terminal;
pub mod trace;
mod witness;

use std::path::PathBuf;
use std::time::Duration;

pub use files::{exchange, set_access_list, set_file_capabilities};
pub use launch::Launch;
pub use outcome::{Running, Started};
pub use proc::{Descriptor, Proc};
pub use protocol::{Hidden, Namespaces, ProcMount, Stdio};
pub use scene::{Gate, Scene};
pub use stranger::Stranger;
pub use sys::{
    ALL_SIGNALS, FORKS, POLLS, duplicate, fork, session_keyring, sigaction, sigaction_info,
    signal_set, ways_back_to_root,
};
pub use terminal::Terminal;

/// Where a binary of this workspace was built: one of this crate's own (`svc`, `keeper`), which
/// Cargo builds before it runs an integration test, or that of an example, if it was built.
pub fn bin(name: &str) -> PathBuf {
    find_bin(name).unwrap_or_else(|| {
        panic!("no binary `{name}` beside this one: `cargo build --workspace` makes it")
    })
}

/// The same, if it is there.
fn find_bin(name: impl AsRef<std::path::Path>) -> Option<PathBuf> {
    let me = std::env::current_exe().expect("the path of this test binary");
    me.ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join(&name))
        .find(|path| path.is_file())
}

/// What the C library says of an error, as it stands in messages; each has its own words.
pub fn errno_text(errno: i32) -> String {
    std::io::Error::from_raw_os_error(errno).to_string()
}

/// How much longer everything may take: `tests/machines` builds the tests for emulated machines.
const SLOWNESS: u64 = if option_env!("DAEMON_TESTS_EMULATED").is_some() {
    8
} else {
    1
};

/// How long a test waits for what should happen at once, before it has failed. Long, as machines
/// are overloaded, and a test that passes never waits so long.
pub const PATIENCE: Duration = Duration::from_mins(SLOWNESS);

/// How long what is done without waiting for anything may take on such a machine. Whatever waits
/// longer has waited for something.
pub const PROMPT: Duration = Duration::from_secs(8 * SLOWNESS);

/// Of which signal a process dies whose main thread overflows its stack. Rust's runtime reports
/// that and aborts, but with musl, which does not tell where the main thread's stack ends, the
/// fault stays what it is.
pub const OVERFLOW: i32 = if cfg!(target_env = "musl") {
    libc::SIGSEGV
} else {
    libc::SIGABRT
};

/// Sets a flag when it is dropped, by a panic too, so that threads which work until it is set end
/// with the test.
#[derive(Debug)]
pub struct SetOnDrop<'a>(pub &'a std::sync::atomic::AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// What a panic said.
pub fn text_of(panic: Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast::<String>().map(|text| *text);
    text.unwrap_or_else(|panic| {
        panic
            .downcast_ref::<&str>()
            .copied()
            .unwrap_or("a panic")
            .to_owned()
    })
}
