//! E21, E22, E38: directories that are exchanged between check and use.
//!
//! On the way to root's files there is a directory in which a group may write. What its members put
//! there is refused; here they put it there and take it away all the time. So a start may be
//! refused, but nothing is made or changed in a place of theirs, nor where their links lead.

use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

use daemon_harness::{Launch, PATIENCE, Scene, SetOnDrop, Started, bin, exchange, require};
use daemon_tests::ctl::ORDINARY;

use crate::{Dice, is_in, rounds};

/// As a round takes little time.
const STARTS: usize = 15;
/// Files of other services, with names that this one uses, too. (Where there is none, one could be
/// made.)
const PRECIOUS: [&str; 3] = ["service.pid", "log", "service.pid.control"];

/// What lies around the directory of root's files.
struct Place<'s> {
    scene: &'s Scene,
    /// The directory of root's files, most of the time.
    run: PathBuf,
    /// What takes its place now and then.
    trap: PathBuf,
    /// Where it leads, or what it is: it must stay as it is.
    victim: PathBuf,
}

/// All that could be changed: names, contents, modes, owners.
type Seen = Vec<(PathBuf, Vec<u8>, u32, u32)>;

impl<'s> Place<'s> {
    fn new(scene: &'s Scene) -> Self {
        let outer = scene.dir("outer", 0o775, None);
        chown(&outer, None, Some(ORDINARY)).expect("chgrp");
        let run = scene.dir("outer/run", 0o755, None);
        Self {
            scene,
            run,
            trap: outer.join("trap"),
            victim: scene.dir("victim", 0o755, None),
        }
    }

    fn put_precious_files(self, names: &[&str]) -> Self {
        for name in names {
            fs::write(self.victim.join(name), "precious").expect("a new file");
        }
        self
    }

    /// The attacker's link to a directory of root's.
    fn with_link(scene: &'s Scene) -> Self {
        let place = Self::new(scene);
        symlink(&place.victim, &place.trap).expect("a link");
        lchown(&place.trap, Some(ORDINARY), Some(ORDINARY)).expect("chown");
        place.put_precious_files(&PRECIOUS)
    }

    /// A directory of the attacker's.
    fn with_directory(scene: &'s Scene) -> Self {
        let mut place = Self::new(scene);
        place.victim = scene.dir("outer/trap", 0o755, Some(ORDINARY));
        place.put_precious_files(&PRECIOUS[..2])
    }

    fn exchange(&self) {
        exchange(&self.run, &self.trap).expect("an exchange");
    }

    /// What is where a start must change nothing.
    fn seen(&self) -> Seen {
        let look = |path: PathBuf| {
            let found = fs::symlink_metadata(&path).expect("a file");
            (
                path.clone(),
                fs::read(&path).unwrap_or_default(),
                found.mode(),
                found.uid(),
            )
        };
        let entries = |path: &Path| {
            fs::read_dir(path)
                .expect("a directory")
                .map(|entry| entry.expect("a file").path())
        };
        let mut paths = vec![self.victim.clone()];
        paths.extend(entries(&self.victim));
        paths.extend(entries(&self.scene.path("outer")).filter(|path| *path != self.run));
        paths.sort();
        paths.into_iter().map(look).collect()
    }

    /// Does this while the directory and the trap are exchanged at random moments; afterwards each
    /// is in its place.
    fn while_exchanged<T>(&self, dice: &mut Dice, act: impl FnOnce() -> T + Send) -> T
    where
        T: Send,
    {
        let over = AtomicBool::new(false);
        let acted = thread::scope(|scope| {
            let acting = scope.spawn(|| {
                let _over = SetOnDrop(&over);
                act()
            });
            let mut exchanged = false;
            // A start of many steps gets through only between rare exchanges, one of few is met
            // only by frequent ones.
            let longest = 100 << dice.below(9); // microseconds
            while !over.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_micros(dice.below(longest)));
                self.exchange();
                exchanged = !exchanged;
            }
            if exchanged {
                self.exchange();
            }
            acting.join()
        });
        acted.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// A good start, or one that was refused with a message.
fn assert_sensible(started: &Started) {
    let refused = matches!(started.status.code(), Some(1 | 80..=95)) && !started.stderr.is_empty();
    assert!(started.status.success() || refused, "{started:#?}");
}

fn end_all(scene: &Scene) {
    for process in scene.processes() {
        process.send(libc::SIGTERM);
        process.wait_gone(PATIENCE);
    }
}

/// Starts, and ends of the daemons, while directories are exchanged; before each, this is done in
/// peace.
fn attack<'s>(place: &Place<'s>, before_each: impl Fn(), launch: impl Fn() -> Launch<'s> + Sync) {
    let mut dice = Dice::new();
    let (mut good, mut refused) = (0, 0);
    let before = place.seen();
    let enough = rounds() * STARTS;
    // Chance may need some more to bring both.
    for round in 0..10 * enough {
        if round >= enough && good > 0 && refused > 0 {
            break;
        }
        before_each();
        let started = place.while_exchanged(&mut dice, || {
            let started = launch().run();
            end_all(place.scene);
            started
        });
        assert_sensible(&started);
        *(if started.status.success() {
            &mut good
        } else {
            &mut refused
        }) += 1;
        assert_eq!(place.seen(), before, "{started:#?}");
    }
    assert!(
        good > 0 && refused > 0,
        "the moments are not right: {good} good, {refused} refused"
    );
}

/// Starts of a service with a pidfile and logs of these names.
fn attack_pidfile_and_logs(place: &Place<'_>, logs: [&str; 2], user: Option<&str>) {
    let [stdout, stderr] = logs.map(|log| place.run.join(log));
    let start = || {
        let launch = place.scene.launch(bin("svc")).arg("init:print=a line");
        let launch = launch.set("pidfile", place.run.join("service.pid"));
        let launch = launch.set("stdout", &stdout).set("stderr", &stderr);
        match user {
            Some(user) => launch.set("user", user),
            None => launch,
        }
    };
    attack(place, || (), start);
}

#[test]
fn e22_pidfile_and_logs_with_a_link_in_the_way() {
    require!(root());
    let scene = Scene::new();
    let place = Place::with_link(&scene);
    attack_pidfile_and_logs(&place, ["out", "err"], Some("nobody"));
}

#[test]
fn e22_pidfile_and_logs_with_a_directory_in_the_way() {
    require!(root());
    let scene = Scene::new();
    attack_pidfile_and_logs(&Place::with_directory(&scene), ["log", "log"], None);
}

/// Starts of a service with a control socket.
fn attack_the_control_socket(place: &Place<'_>) {
    let settings = format!("pidfile={}", place.run.join("service.pid").display());
    let start = || place.scene.launch(bin("ctl")).arg("start");
    attack(place, || (), || start().env("CTL", &settings));
}

#[test]
fn e22_the_control_socket_with_a_link_in_the_way() {
    require!(root());
    let scene = Scene::new();
    attack_the_control_socket(&Place::with_link(&scene));
}

#[test]
fn e22_the_control_socket_with_a_directory_in_the_way() {
    require!(root());
    let scene = Scene::new();
    attack_the_control_socket(&Place::with_directory(&scene));
}

/// The older instance, too, may end in the meantime.
#[test]
fn e22_a_restart_with_a_link_in_the_way() {
    require!(root());
    let scene = Scene::new();
    let place = Place::with_link(&scene);
    let settings = format!(
        "pidfile={} listen={}",
        place.run.join("service.pid").display(),
        scene.path("address").display()
    );
    let command = |line| scene.launch(bin("ctl")).arg(line).env("CTL", &settings);
    attack(
        &place,
        || drop(command("start").run()),
        || command("restart"),
    );
}

/// The exchange comes just before this call of a command, which strace delays; then all is put
/// back. Nothing has gone astray: the service has its socket where it belongs.
fn exchanged_before(line: &str, calls: &str, numbers: &[libc::c_long]) {
    let scene = Scene::new();
    let place = Place::with_link(&scene);
    let pidfile = place.run.join("service.pid");
    let settings = format!(
        "pidfile={} listen={} reloads=",
        pidfile.display(),
        scene.path("address").display()
    );
    let command = |line| scene.launch(bin("ctl")).arg(line).env("CTL", &settings);
    if line != "start" {
        command("start").run().assert_ready();
    }
    let before = place.seen();
    let delay = format!("inject={calls}:delay_enter=300000:when=1");
    let running = command(line).strace("calls", &["-e", &delay]).spawn();
    let is_there = || {
        scene
            .processes()
            .iter()
            .any(|process| numbers.iter().any(|&call| is_in(process, call)))
    };
    scene.wait_until(calls, is_there);
    place.exchange();
    scene.wait_until("the end of the call", || !is_there());
    place.exchange();
    let ended = running.wait();
    assert_sensible(&ended);
    assert_eq!(place.seen(), before, "{ended:#?}");
    if line == "restart" || ended.status.success() {
        command("reload").run().assert_exited(0);
        command("stop").run().assert_exited(0);
        assert_eq!(
            fs::read_dir(&place.run).expect("a directory").count(),
            0,
            "what the service had made is gone"
        );
    }
}

#[test]
fn e22_exchanged_just_before_the_control_socket_is_made_or_moved() {
    require!(root(), tool("strace"));
    exchanged_before("start", "bind", &[libc::SYS_bind]);
    #[cfg(not(target_arch = "riscv64"))]
    let numbers = [libc::SYS_renameat, libc::SYS_renameat2];
    #[cfg(target_arch = "riscv64")]
    let numbers = [libc::SYS_renameat2];
    exchanged_before("restart", "/^rename", &numbers);
}
