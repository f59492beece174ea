//! Step 13 and what belongs to it: another user, another root directory, and nothing that leads
//! back.

mod capabilities;
mod chroot;
mod identity;
mod log_kinds;
mod logs;
mod no_way_back;
mod rotated_logs;
mod runtime_directory;
mod troubled_logs;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use daemon_harness::{Launch, Proc, Scene, bin};

/// nobody, and its group.
const NOBODY: u32 = 65534;

/// The service, to run as nobody.
fn as_nobody(scene: &Scene) -> Launch<'_> {
    scene.launch(bin("svc")).set("user", "nobody")
}

/// The service in namespaces of its own (`--net`, say, besides that of mounts) that this shell
/// script makes ready.
fn in_namespaces<'s>(scene: &'s Scene, namespaces: &[&str], script: &str) -> Launch<'s> {
    let script = format!("set -e; {script}; exec \"$@\"");
    let unshare = scene
        .launch("/usr/bin/unshare")
        .arg("--mount")
        .args(namespaces);
    unshare
        .args(["/bin/sh", "-c", &script, "sh"])
        .arg(bin("svc"))
}

/// Real, effective, saved and file-system ids are these, and the supplementary groups too.
#[track_caller]
fn assert_is(daemon: &Proc, uid: u32, gid: u32, groups: &[u32]) {
    let status = daemon.status();
    assert_eq!(
        [status.ruid, status.euid, status.suid, status.fuid],
        [uid; 4],
        "user ids"
    );
    assert_eq!(
        [status.rgid, status.egid, status.sgid, status.fgid],
        [gid; 4],
        "group ids"
    );
    assert_eq!(status.groups, groups, "supplementary groups");
}

/// Permitted and effective capabilities are these, inheritable and ambient ones none.
#[track_caller]
fn assert_capabilities(daemon: &Proc, set: u64) {
    let status = daemon.status();
    let sets = [
        status.capprm,
        status.capeff,
        status.capinh,
        status.capamb.unwrap_or(0),
    ];
    assert_eq!(
        sets,
        [set, set, 0, 0],
        "permitted, effective, inheritable, ambient: {sets:#x?}"
    );
}

/// The groups of a user of this machine.
fn groups_of(user: &str) -> Vec<u32> {
    let output = Command::new("id").args(["-G", user]).output().expect("id");
    let text = String::from_utf8(output.stdout).expect("numbers");
    let mut groups: Vec<u32> = text
        .split_whitespace()
        .map(|group| group.parse().expect("a number"))
        .collect();
    groups.sort_unstable();
    groups
}

/// A directory that the daemon, whoever it is, can write.
fn open_to_all(scene: &Scene) -> PathBuf {
    scene.dir("open", 0o777, None)
}

/// A copy of a program of this machine, set-uid root.
fn set_uid_copy(scene: &Scene, program: &str) -> PathBuf {
    let copy = scene.path("set-uid");
    fs::copy(program, &copy).expect("a copy");
    fs::set_permissions(&copy, PermissionsExt::from_mode(0o4755)).expect("chmod");
    copy
}

/// `a` and `b` as one argument `a=b`.
fn action(name: &str, path: impl AsRef<Path>) -> OsString {
    let mut action = OsString::from(name);
    action.push("=");
    action.push(path.as_ref());
    action
}

/// Permission bits and owner of a file.
fn mode_and_owner(path: impl AsRef<Path>) -> (u32, u32) {
    let found = fs::symlink_metadata(path).expect("a file");
    (found.mode() & 0o7777, found.uid())
}
