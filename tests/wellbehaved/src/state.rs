//! What /proc says of the daemon, when it was started from places of different kinds.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::Path;
use std::time::Duration;

use daemon_harness::{ALL_SIGNALS, Descriptor, Launch, Proc, Scene, Stdio, signal_set};
use nix::libc;
use nix::sys::resource::Resource;
use nix::unistd::{Gid, Uid, User, geteuid, getgrouplist};

use crate::subject::{Start, Subject, holds_within, last_line};
use crate::table::Table;

const UMASK: u32 = 0o077;

/// The C library keeps these for itself: a caller cannot ignore them through it, nor a daemon reset
/// them.
const KEPT_BY_LIBC: [i32; 2] = [32, 33];

/// `SECBIT_NO_SETUID_FIXUP`: who leaves root by setuid(2) keeps all capabilities.
const KEEP_THROUGH_SETUID: u32 = 1 << 2;

/// Nobody's groups, but the caller's.
const GROUPS: [u32; 3] = [4, 27, 4242];

const SECRET: &str = "hunter2";

/// A place that is hostile in every way, but for the signals if these are to be as usual.
fn hostile<'s>(subject: &Subject, scene: &'s Scene, signals: bool) -> Launch<'s> {
    let (place, marker) = (scene.path("place"), scene.path("inherited"));
    if !place.exists() {
        scene.dir("place", 0o1777, None);
        scene.file("inherited", "");
    }
    let numbers = (3..=12).chain([63, 255, 256, 1023, 1024]).chain(2000..2100);
    let launch = numbers.fold(subject.launch(scene), |launch, number| {
        launch.descriptor(number, &marker)
    });
    let launch = launch.on_terminal().umask(UMASK).current_dir(place).rlimit(
        Resource::RLIMIT_NOFILE,
        4000,
        4000,
    );
    let launch = launch.raw_env((0..500).map(|number| format!("FILLER_{number}={number}")));
    let launch = launch
        .env("SECRET", SECRET)
        .raw_env([b"no equals sign".as_slice(), b"BYTES=\xff\xfe"]);
    let launch = if geteuid().is_root() {
        launch.groups([0].into_iter().chain(GROUPS))
    } else {
        launch
    };
    let all = (1..=64).filter(|signal| {
        ALL_SIGNALS & signal_set([*signal]) != 0 && !KEPT_BY_LIBC.contains(signal)
    });
    if signals {
        launch.ignoring(all.clone()).blocking(all)
    } else {
        launch
    }
}

pub(crate) fn look(subject: &Subject, table: &mut Table) {
    let mut scene = Scene::new();
    let mut start = subject.start(&scene, hostile(subject, &scene, true));
    if start.status.is_some() && start.daemon.is_none() {
        // Those that cannot start while SIGCHLD is ignored are looked at without that.
        let refused = start.ended();
        subject.clear();
        scene = Scene::new();
        start = subject.start(&scene, hostile(subject, &scene, false));
        let words = format!(
            "{refused} with signals ignored and blocked; without that {}",
            start.ended()
        );
        table.answer("start", false, words);
        if start.daemon.is_some() {
            table.answer("2", false, "it does not start with them ignored");
            table.answer("3", false, "it does not start with them blocked");
        }
    } else {
        table.answer(
            "start",
            start.says_ready() && start.daemon.is_some(),
            start.ended(),
        );
    }
    let said = || last_line(&scene.terminal().shown());
    if start.status.is_none() {
        let hint = "in the foreground, or slow (--timeout)";
        return table.answer(
            "start",
            false,
            format!("the starter: {}: {hint}{}", start.ended(), said()),
        );
    }
    let Some(daemon) = &start.daemon else {
        return table.answer(
            "start",
            false,
            format!("no daemon came of it: {}{}", start.ended(), said()),
        );
    };
    let found = Inherited {
        ignored: daemon.ignored(),
        blocked: daemon.blocked(),
        umask: daemon.status().umask,
    };
    look_at_descriptors(&scene, daemon, table);
    look_at_session(&scene, &start, daemon, table);
    look_at_surroundings(&scene, daemon, table);
    look_at_identity(daemon, table);
    look_at_pidfile(subject, daemon, table);
    scene.terminal().hang_up();
    // What a hang-up does it does at once; but the daemon has to be scheduled for it.
    let died = holds_within(Duration::from_millis(300), || daemon.is_gone());
    table.answer(
        "E14",
        !died,
        if died {
            "it died when the terminal was closed"
        } else {
            "it is alive"
        },
    );
    drop(scene);
    look_at_inherited(subject, found, table);
}

/// What may be inherited, or set by the daemon itself to the same.
struct Inherited {
    ignored: Vec<i32>,
    blocked: Vec<i32>,
    umask: Option<u32>,
}

/// What it is wherever it is started it is on its own account.
fn look_at_inherited(subject: &Subject, mut found: Inherited, table: &mut Table) {
    // The runtimes of Rust and Python ignore these themselves.
    found
        .ignored
        .retain(|signal| ![libc::SIGPIPE, libc::SIGXFSZ].contains(signal));
    let mut umask_is_its_own = found.umask != Some(UMASK);
    if !found.ignored.is_empty() || !found.blocked.is_empty() || !umask_is_its_own {
        subject.clear();
        let scene = Scene::new();
        if let Some(daemon) = subject.start(&scene, subject.launch(&scene)).daemon {
            let (ignored, blocked) = (daemon.ignored(), daemon.blocked());
            found.ignored.retain(|signal| !ignored.contains(signal));
            found.blocked.retain(|signal| !blocked.contains(signal));
            umask_is_its_own |= daemon.status().umask == found.umask;
        }
    }
    let show = |what: &str, signals: &[i32]| {
        format!("{} are still {what}{}", signals.len(), examples(signals))
    };
    if !table.has("2") {
        table.answer(
            "2",
            found.ignored.is_empty(),
            show("ignored", &found.ignored),
        );
        table.answer(
            "3",
            found.blocked.is_empty(),
            show("blocked", &found.blocked),
        );
    }
    table.answer(
        "10",
        umask_is_its_own,
        format!("umask {:03o}", found.umask.unwrap_or_default()),
    );
}

/// The first few of them, in parentheses.
fn examples<T: ToString>(all: &[T]) -> String {
    let some: Vec<_> = all.iter().take(3).map(T::to_string).collect();
    let more = if all.len() > 3 { ", …" } else { "" };
    if some.is_empty() {
        String::new()
    } else {
        format!(" ({}{more})", some.join(", "))
    }
}

fn look_at_descriptors(scene: &Scene, daemon: &Proc, table: &mut Table) {
    let marker = scene.path("inherited");
    let open = daemon.descriptors();
    let inherited: Vec<_> = open
        .iter()
        .filter(|(_, open)| open.target == marker)
        .map(|(number, _)| *number)
        .collect();
    table.answer(
        "1",
        inherited.is_empty(),
        format!(
            "{} of them are open{}",
            inherited.len(),
            examples(&inherited)
        ),
    );
    let terminal = scene.terminal().path();
    let on_terminal = open.values().filter(|open| open.target == terminal).count();
    table.answer("9", on_terminal == 0 && has_stdio(&open), show_stdio(&open));
}

fn has_stdio(open: &BTreeMap<i32, Descriptor>) -> bool {
    (0..3).all(|number| open.contains_key(&number))
}

fn show_stdio(open: &BTreeMap<i32, Descriptor>) -> String {
    let show = |number| {
        open.get(&number)
            .map_or("closed".into(), |open: &Descriptor| {
                open.target.display().to_string()
            })
    };
    let shown = [0, 1, 2].map(show);
    if shown.iter().all(|target| *target == shown[0]) {
        format!("all {}", shown[0])
    } else {
        shown.join(", ")
    }
}

fn look_at_session(scene: &Scene, start: &Start, daemon: &Proc, table: &mut Table) {
    let found = daemon.stat();
    let pid = daemon.pid();
    table.answer(
        "5",
        pid != start.starter,
        format!("started as {}, runs as {pid}", start.starter),
    );
    let own = start.starter == found.session
        || found.session == pid
        || Proc::new(found.session).is_none();
    let terminal = if found.tty_nr == 0 {
        "no terminal"
    } else {
        "the caller's terminal"
    };
    table.answer(
        "6",
        own && found.tty_nr == 0,
        format!("session {}, {terminal}", found.session),
    );
    table.answer(
        "7",
        found.session != pid,
        format!("session {}, pid {pid}", found.session),
    );
    let alone = found.session == pid || Proc::new(found.session).is_none();
    let left_to_init = scene.is_top(daemon);
    let name = |parent: Proc| parent.name().unwrap_or_default();
    let parent = if left_to_init {
        "init".into()
    } else {
        Proc::new(found.ppid).map_or("gone".into(), name)
    };
    table.answer(
        "8",
        alone && left_to_init,
        format!("its parent is {parent}"),
    );
}

fn look_at_surroundings(scene: &Scene, daemon: &Proc, table: &mut Table) {
    let left = daemon.environ_bytes();
    let leaks = left
        .windows(SECRET.len())
        .any(|bytes| bytes == SECRET.as_bytes());
    table.answer(
        "4",
        !leaks,
        if leaks {
            "SECRET=hunter2 can be read there"
        } else {
            "it is not there"
        },
    );
    let directory = daemon.cwd();
    table.answer(
        "11",
        directory != scene.path("place"),
        directory.display().to_string(),
    );
}

fn look_at_identity(daemon: &Proc, table: &mut Table) {
    let status = daemon.status();
    let unchanged = match () {
        () if !geteuid().is_root() => Some("it was not started by root"),
        () if status.euid == 0 => Some("it stays root"),
        () => None,
    };
    if let Some(reason) = unchanged {
        table.not_applicable("13", reason);
        return table.not_applicable("13g", reason);
    }
    let one = |ids: [u32; 4]| ids.iter().all(|id| *id == ids[0] && *id != 0);
    let users = [status.ruid, status.euid, status.suid, status.fuid];
    let groups = [status.rgid, status.egid, status.sgid, status.fgid];
    let capabilities = status.capprm | status.capeff;
    let words = format!("users {users:?}, groups {groups:?}, capabilities {capabilities:x}");
    table.answer("13", one(users) && one(groups) && capabilities == 0, words);
    let mut of_the_user = vec![status.egid];
    if let Ok(Some(user)) = User::from_uid(Uid::from_raw(status.euid)) {
        let name = CString::new(user.name).expect("a name");
        let listed = getgrouplist(&name, Gid::from_raw(status.egid)).unwrap_or_default();
        of_the_user.extend(listed.into_iter().map(Gid::as_raw));
    }
    let callers = |group: &&u32| **group == 0 || GROUPS.contains(group);
    let foreign: Vec<_> = status
        .groups
        .iter()
        .filter(callers)
        .filter(|group| !of_the_user.contains(group))
        .collect();
    table.answer(
        "13g",
        foreign.is_empty(),
        format!(
            "{} of the caller's are left{}",
            foreign.len(),
            examples(&foreign)
        ),
    );
}

fn look_at_pidfile(subject: &Subject, daemon: &Proc, table: &mut Table) {
    if subject.pidfile().is_none() {
        return table.not_applicable("12", "no pidfile was named");
    }
    let named = subject
        .pid_in_pidfile()
        .map_or("nobody".to_owned(), |pid| pid.to_string());
    table.answer(
        "12",
        subject.is_named(daemon),
        format!("it names {named}, the daemon is {}", daemon.pid()),
    );
}

/// As under ssh, cron or `$(…)`, where somebody waits for the end of the output; then the end.
pub(crate) fn look_with_pipes(subject: &Subject, table: &mut Table) {
    let scene = Scene::new();
    let start = subject.start(&scene, subject.launch(&scene));
    let words = if start.pipes_closed {
        "closed when the starter had ended"
    } else {
        "it holds them open"
    };
    table.answer("pipes", start.pipes_closed, words);
    let daemon = start.daemon();
    daemon.signal(subject.stop_signal);
    let ended = holds_within(subject.patience, || daemon.is_gone());
    let alone = holds_within(Duration::from_secs(1), || scene.processes().is_empty());
    let words = match (ended, alone) {
        (false, _) => &format!("it is alive after {} s", subject.patience.as_secs()),
        (true, false) => "it has ended, but not all that it started",
        (true, true) => "nobody is left",
    };
    table.answer(
        "stop",
        ended && alone,
        format!("signal {}: {words}", subject.stop_signal),
    );
}

pub(crate) fn look_without_stdio(subject: &Subject, table: &mut Table) {
    let scene = Scene::new();
    let launch = subject
        .launch(&scene)
        .stdin(Stdio::Closed)
        .stdout(Stdio::Closed)
        .stderr(Stdio::Closed);
    let start = subject.start(&scene, launch);
    let open = start.daemon().descriptors();
    let good = |number| match open.get(&number) {
        Some(open) => {
            let is_file =
                open.target.is_absolute() && Some(open.target.as_path()) != subject.pidfile();
            is_file && open.target != Path::new("/dev/tty")
        }
        None => false,
    };
    table.answer("E10", (0..3).all(good), show_stdio(&open));
}

/// Securebits are inherited, and keep capabilities for a daemon that only changes its ids.
pub(crate) fn look_with_securebits(subject: &Subject, table: &mut Table) {
    if !geteuid().is_root() {
        return table.not_applicable("E36", "it was not started by root");
    }
    let scene = Scene::new();
    let start = subject.start(
        &scene,
        subject.launch(&scene).securebits(KEEP_THROUGH_SETUID),
    );
    let status = start.daemon().status();
    if status.euid == 0 {
        return table.not_applicable("E36", "it stays root");
    }
    let left = status.capprm | status.capeff | status.capamb.unwrap_or_default();
    table.answer(
        "E36",
        left == 0,
        format!("user {}, capabilities {left:x}", status.euid),
    );
}
