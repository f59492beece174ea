//! What the measured programs share.

use nix::unistd::{ForkResult, fork as fork_, pause};

/// Where pidfiles and logs go: a directory of root's that the harness creates and removes.
pub const PLACE: &str = "/run/daemon-bench";

/// As whom the services run that give up root's power.
pub const USER: &str = "nobody";

/// Removes what killed daemons have left there, so that every start is a first one.
///
/// # Panics
/// If the place is not there.
pub fn tidy() {
    for file in std::fs::read_dir(PLACE).expect("it was created") {
        _ = std::fs::remove_file(file.expect("it can be read").path());
    }
}

/// Forks.
///
/// # Errors
/// As fork(2).
pub fn fork() -> nix::Result<ForkResult> {
    // SAFETY: the measured programs have one thread.
    unsafe { fork_() }
}

/// Ends the process at once, which is the fastest way.
pub fn leave() -> ! {
    // SAFETY: _exit(2) has no precondition.
    unsafe { libc::_exit(0) }
}

/// The main loop: does nothing until it is killed.
pub fn sleep() -> ! {
    loop {
        pause();
    }
}
