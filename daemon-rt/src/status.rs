//! The exit statuses of the process that was started.

use crate::step::Step;

/// Another hook than `configure` returned an error.
pub(crate) const HOOK_FAILED: u8 = 1;
/// A setting is invalid.
pub(crate) const INVALID_SETTING: u8 = 2;
/// `configure` returned an error: `EX_CONFIG` of sysexits(3). Another try would fail, too.
pub(crate) const NOT_CONFIGURED: u8 = 78;
/// Another instance runs; a failed step N is this and N.
pub(crate) const ALREADY_RUNNING: u8 = 80;
/// A hook in the daemon called `exit(0)`, which says nothing of readiness.
pub(crate) const EXITED_WITH_0: u8 = 96;
/// The service did not end in time.
pub(crate) const NOT_ENDED: u8 = 97;
/// A hook panicked: the status of Rust's own runtime.
pub(crate) const PANICKED: u8 = 101;
/// The daemon was not ready in time: as timeout(1).
pub(crate) const TIMED_OUT: u8 = 124;
/// The daemon was killed: as a shell, this and the number of the signal.
pub(crate) const KILLED: u8 = 128;

/// The status for a failed step.
pub(crate) fn of_step(step: Step) -> u8 {
    ALREADY_RUNNING + step.number()
}

#[test]
fn the_documentation_lists_them() {
    let front_page = include_str!("lib.rs");
    let readme = include_str!("../README.md");
    let listed = [
        (HOOK_FAILED.to_string(), "a hook"),
        (INVALID_SETTING.to_string(), "a "),
        (NOT_CONFIGURED.to_string(), "`configure`"),
        (ALREADY_RUNNING.to_string(), ""),
        (format!("{ALREADY_RUNNING} + N"), "step N"),
        (EXITED_WITH_0.to_string(), "a hook"),
        (NOT_ENDED.to_string(), "not ended"),
        (PANICKED.to_string(), "a hook panicked"),
        (TIMED_OUT.to_string(), "not ready"),
        (format!("{KILLED} + N"), ""),
    ];
    for (status, meaning) in listed {
        let row = format!("//! | {status} | {meaning}");
        assert!(front_page.contains(&row), "the front page: {status}");
        let entry = format!("· {status} {meaning}");
        assert!(readme.contains(&entry), "the README: {status}");
    }
}
