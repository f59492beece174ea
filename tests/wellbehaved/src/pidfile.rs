//! What the daemon does with all kinds of pidfiles, and with others like itself.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;
use std::process::id;
use std::time::Duration;

use daemon_harness::{Proc, Scene};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::Look;
use crate::subject::{Start, Subject, holds_within, left_to_init};
use crate::table::Table;

/// Each look at a pidfile, with the questions that it answers.
pub(crate) const LOOKS: &[(&[&str], Look)] = &[
    (&["E22m", "E22f", "E26", "E27"], look_at_owner),
    (&["E23"], look_at_successor),
    (&["E24"], look_at_second),
    (&["E20"], look_at_ten),
    (&["E20g"], look_at_garbage),
    (&["E25"], look_at_reused_pid),
    (&["E09"], look_at_directory),
    (&["E21s"], look_at_symlink),
    (&["E21h"], look_at_hard_link),
    (&["E21f"], look_at_fifo),
];

const SOON: Duration = Duration::from_secs(2);

/// Owner, mode, lock; and what is left of these after the end.
fn look_at_owner(subject: &Subject, table: &mut Table) {
    let scene = Scene::new();
    let start = subject.start(&scene, subject.launch(&scene).umask(0));
    let daemon = start.daemon();
    let found = fs::metadata(subject.path()).expect("a pidfile");
    let flocked = daemon
        .descriptors()
        .into_iter()
        .find(|(_, open)| !open.locks.is_empty() && open.target == subject.path());
    let me = nix::unistd::geteuid().as_raw();
    // Whoever can open a file can lock it with flock(2), and so keep the service from starting.
    let by_flock = flocked
        .as_ref()
        .is_some_and(|(_, open)| open.locks.iter().any(|lock| lock.contains("FLOCK")));
    let too_open = if by_flock { 0o066 } else { 0o022 };
    let good = found.mode() & too_open == 0 && found.uid() == me;
    let lock = if by_flock { ", locked with flock" } else { "" };
    table.answer(
        "E22m",
        good,
        format!(
            "mode {:03o}, owner {}{lock}",
            found.mode() & 0o777,
            found.uid()
        ),
    );
    match &flocked {
        None => table.not_applicable("E27", "it holds no lock on its pidfile"),
        Some((number, open)) => {
            let words = if open.cloexec() {
                "is closed on exec"
            } else {
                "is inherited"
            };
            table.answer(
                "E27",
                open.cloexec(),
                format!("descriptor {number} {words}"),
            );
        }
    }
    look_at_forgery(subject, daemon, table);
    look_at_end(subject, &scene, daemon, flocked.is_some(), table);
}

fn look_at_forgery(subject: &Subject, daemon: &Proc, table: &mut Table) {
    let status = daemon.status();
    if status.euid == 0 || !nix::unistd::geteuid().is_root() {
        return table.not_applicable("E22f", "it has the privileges of its starter");
    }
    let found = fs::metadata(subject.path()).expect("a pidfile");
    let group = status.egid == found.gid();
    let may = found.uid() == status.euid
        || found.mode() & 0o002 != 0
        || group && found.mode() & 0o020 != 0;
    let has = |open: &daemon_harness::Descriptor| {
        open.target == subject.path() && open.access() != libc::O_RDONLY
    };
    let open = daemon.descriptors().values().any(has);
    let words = match (may, open) {
        (true, _) => "its owner or mode lets it",
        (_, true) => "it has it open for writing",
        _ => "neither by a descriptor nor by its mode",
    };
    table.answer("E22f", !may && !open, words);
}

fn look_at_end(subject: &Subject, scene: &Scene, daemon: &Proc, locked: bool, table: &mut Table) {
    let user = daemon.status().euid;
    daemon.signal(subject.stop_signal);
    if !holds_within(subject.patience, || daemon.is_gone()) {
        return table.answer("E26", false, "it does not end");
    }
    let directory =
        fs::metadata(subject.path().parent().expect("a directory")).expect("a directory");
    let may_remove = user == 0 || user == directory.uid() || directory.mode() & 0o002 != 0;
    let free = scene.lock_holders(subject.path()).is_empty();
    let (good, words) = match (subject.path().exists(), may_remove, locked && free) {
        (false, ..) => (true, "it is gone"),
        (true, false, true) => (
            true,
            "it is left, where it may not be removed, with its lock free",
        ),
        (true, false, false) => (
            false,
            "it is left, without a lock that tells that it is stale",
        ),
        (true, true, _) => (false, "it is left"),
    };
    table.answer("E26", good, words);
}

/// A file that another service has put there meanwhile.
fn look_at_successor(subject: &Subject, table: &mut Table) {
    let scene = Scene::new();
    let start = subject.start(&scene, subject.launch(&scene));
    let daemon = start.daemon();
    let successors = format!("{}\n", id());
    fs::remove_file(subject.path()).expect("a pidfile");
    fs::write(subject.path(), &successors).expect("a pidfile");
    daemon.signal(subject.stop_signal);
    if !holds_within(subject.patience, || daemon.is_gone()) {
        return table.not_applicable("E23", "it does not end");
    }
    let there = fs::read_to_string(subject.path()).is_ok_and(|now| now == successors);
    table.answer(
        "E23",
        there,
        if there {
            "it is untouched"
        } else {
            "it is removed, or changed"
        },
    );
}

fn look_at_second(subject: &Subject, table: &mut Table) {
    let scene = Scene::new();
    let first = subject.start(&scene, subject.launch(&scene));
    let daemon = first.daemon();
    let state = || {
        fs::metadata(subject.path())
            .ok()
            .map(|found| (found.ino(), fs::read(subject.path()).ok()))
    };
    let before = state();
    let second = subject.run(subject.launch(&scene));
    let alone = holds_within(SOON, || subject.is_one(&scene));
    let untouched = state() == before && !daemon.is_gone();
    let what = match (alone, untouched) {
        (false, _) => "two daemons run",
        (true, false) => "the first, or its pidfile, is not as it was",
        (true, true) => "the first is untouched",
    };
    table.answer(
        "E24",
        second.is_refused() && alone && untouched,
        format!("{}, {what}", second.ended()),
    );
}

fn look_at_ten(subject: &Subject, table: &mut Table) {
    let scene = Scene::new();
    let mut gate = scene.gate("gate");
    let running: Vec<_> = (0..10)
        .map(|_| subject.launch(&scene).behind(&gate).spawn())
        .collect();
    gate.open();
    let ended = running
        .into_iter()
        .map(|running| Start::of(running, subject.patience));
    let ready = ended.filter(Start::says_ready).count();
    // Losers that find out late may take their time.
    let alone = holds_within(SOON, || subject.is_one(&scene));
    let left = left_to_init(&scene);
    let daemons = if alone {
        "one daemon runs".into()
    } else {
        format!("{left} processes are left to init")
    };
    table.answer(
        "E20",
        ready == 1 && alone,
        format!("{ready} of 10 starters end with 0, {daemons}"),
    );
}

/// Starts it over such a pidfile, which must not stand in its way.
fn start_over(subject: &Subject, table: &mut Table, key: &'static str, content: &str) {
    fs::write(subject.path(), content).expect("a stale pidfile");
    let scene = Scene::new();
    let start = subject.start(&scene, subject.launch(&scene));
    let named = start
        .daemon
        .as_ref()
        .is_some_and(|daemon| subject.is_named(daemon));
    let what = if named {
        ", and the pidfile names it"
    } else {
        ", but the pidfile does not name a daemon"
    };
    table.answer(
        key,
        start.says_ready() && named,
        format!("{}{what}", start.ended()),
    );
}

fn look_at_garbage(subject: &Subject, table: &mut Table) {
    start_over(subject, table, "E20g", "garbage\nin many lines\n");
}

/// The pid of this very program stands for any that is in use again.
fn look_at_reused_pid(subject: &Subject, table: &mut Table) {
    start_over(subject, table, "E25", &format!("{}\n", id()));
}

fn look_at_directory(subject: &Subject, table: &mut Table) {
    fs::create_dir(subject.path()).expect("a directory");
    let scene = Scene::new();
    let start = subject.run(subject.launch(&scene));
    let alone = holds_within(SOON, || scene.processes().is_empty());
    let left = if alone {
        "nobody is left"
    } else {
        "a daemon runs"
    };
    table.answer(
        "E09",
        start.is_refused() && alone,
        format!("{}, {left}", start.ended()),
    );
}

fn look_at_symlink(subject: &Subject, table: &mut Table) {
    let scene = Scene::new();
    let target = scene.file("target", "precious\n");
    let before = fs::metadata(&target).expect("a target");
    symlink(&target, subject.path()).expect("a symbolic link");
    let start = subject.run(subject.launch(&scene));
    let changed = is_changed(&target, before.uid());
    let is_link = subject
        .path()
        .symlink_metadata()
        .is_ok_and(|found| found.is_symlink());
    // Who replaces the link by a file does no harm either.
    let good = !changed && (start.is_refused() || !is_link);
    let words = if changed {
        "the target is overwritten"
    } else {
        "the target is untouched"
    };
    table.answer("E21s", good, format!("{}, {words}", start.ended()));
}

/// What one name of a file is overwritten by is in the file of the other, too.
fn look_at_hard_link(subject: &Subject, table: &mut Table) {
    let other = subject.other_name();
    fs::write(&other, "precious\n").expect("a file beside the pidfile");
    fs::hard_link(&other, subject.path()).expect("a hard link");
    let owner = fs::metadata(&other).expect("a target").uid();
    let scene = Scene::new();
    let start = subject.run(subject.launch(&scene));
    let changed = is_changed(&other, owner);
    let is_link = fs::metadata(subject.path()).is_ok_and(|found| found.nlink() > 1);
    let words = match (changed, is_link && start.says_ready()) {
        (true, _) => "the file of the other name is overwritten",
        (false, true) => "the file is untouched, but for a pidfile",
        (false, false) => "the file of the other name is untouched",
    };
    table.answer(
        "E21h",
        !changed && (start.is_refused() || !is_link),
        format!("{}, {words}", start.ended()),
    );
}

/// Something precious is overwritten, or another's by now; who does so after its starter's end gets
/// a moment.
fn is_changed(file: &Path, owner: u32) -> bool {
    holds_within(Duration::from_millis(500), || {
        let other = fs::metadata(file).ok().is_none_or(|now| now.uid() != owner);
        other || fs::read(file).ok().as_deref() != Some(b"precious\n")
    })
}

fn look_at_fifo(subject: &Subject, table: &mut Table) {
    mkfifo(subject.path(), Mode::from_bits_truncate(0o600)).expect("a FIFO");
    let scene = Scene::new();
    let start = subject.run(subject.launch(&scene));
    let alone = start.is_refused() && holds_within(SOON, || scene.processes().is_empty());
    let is_fifo = subject
        .path()
        .symlink_metadata()
        .is_ok_and(|found| found.file_type().is_fifo());
    let words = if is_fifo {
        "the FIFO is still there"
    } else {
        "the FIFO is replaced"
    };
    table.answer(
        "E21f",
        alone || (start.says_ready() && !is_fifo),
        format!("{}, {words}", start.ended()),
    );
}
