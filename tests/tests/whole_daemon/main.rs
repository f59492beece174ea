//! A daemon with all settings, started from a hostile place, and looked at against every one of the
//! fifteen steps; and the same in the foreground.

mod foreground;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use daemon_harness::{Descriptor, Launch, Proc, Scene, bin, require};
use nix::sys::resource::Resource;
use nix::unistd::{Uid, User, geteuid};

/// A place from which a service is started, and what it is to become.
struct Whole {
    scene: Scene,
    /// Whom it runs as.
    uid: u32,
    /// Who starts it.
    starter: u32,
    directory: PathBuf,
}

impl Whole {
    /// Directory, pidfile and log are in a place that only the starter can write.
    fn new(starter: u32, uid: u32) -> Self {
        let scene = Scene::new();
        let directory = scene.dir("service", 0o755, Some(starter));
        scene.dir("service/work", 0o755, Some(uid));
        Self {
            scene,
            uid,
            starter,
            directory,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The service with all settings, on a terminal, in all that can be hostile.
    fn launch(&self) -> Launch<'_> {
        let launch = self
            .scene
            .launch(bin("svc"))
            .hostile()
            .on_terminal()
            .env("LANG", "C")
            .env("KEPT", "1");
        let launch = launch
            .rlimit(Resource::RLIMIT_NOFILE, 4000, 5000)
            .nice(5)
            .oom_score_adj(321);
        let launch = if self.starter == geteuid().as_raw() {
            launch
        } else {
            launch.ordinary(self.starter)
        };
        let launch = launch
            .set("name", "whole")
            .set("pidfile", self.path("pid"))
            .set("umask", "27")
            .set("working_directory", self.path("work"))
            .set("keep_env", "KEPT")
            .set("stdout", self.path("log"))
            .set("stderr", self.path("log"))
            .set("start_timeout", "15000")
            .set("init:environ", self.path("work/environ"))
            .set("init:write", self.path("work/written"));
        if self.uid == self.starter {
            return launch;
        }
        launch
            .set("uid", self.uid.to_string())
            .set("no_new_privs", "true")
            .set("groups", "4711")
    }

    /// That the daemon did all fifteen steps; `starter` is the pid that it was started with.
    fn assert_steps(&self, daemon: &Proc, starter: i32) {
        let (stat, status, descriptors) = (daemon.stat(), daemon.status(), daemon.descriptors());
        let terminal = self.scene.terminal().path();

        let inherited = |target: &Path| target == Path::new("/dev/null") || target == terminal;
        let own = |(&number, open): (&i32, &Descriptor)| {
            number < 3 || (number < 20 && open.cloexec() && !inherited(&open.target))
        };
        assert!(
            descriptors.iter().all(own),
            "step 1, descriptors: {descriptors:#?}"
        );
        assert_eq!(daemon.ignored(), [libc::SIGPIPE], "step 2, ignored signals");
        // Those of Rust's runtime, and those that remove the pidfile.
        let own = [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGTERM,
            libc::SIGINT,
            libc::SIGHUP,
            libc::SIGQUIT,
        ];
        let caught = daemon.caught();
        assert!(
            caught.iter().all(|signal| own.contains(signal)),
            "step 2, handled signals: {caught:?}"
        );
        assert!(
            daemon.blocked().is_empty(),
            "step 3, blocked signals: {:?}",
            daemon.blocked()
        );
        self.assert_environment(daemon);
        assert!(
            Proc::new(starter).is_none_or(|starter| starter.is_gone()),
            "step 5, the starter has ended"
        );
        assert_ne!(daemon.pid(), starter, "step 5, another process");
        assert!(
            stat.session == stat.pgrp && stat.session != starter,
            "step 6, a new session: {stat:?}"
        );
        assert_eq!(
            (stat.tty_nr, stat.tpgid),
            (0, -1),
            "step 6, no controlling terminal"
        );
        assert_ne!(
            stat.session,
            daemon.pid(),
            "step 7, not the session's leader"
        );
        assert!(
            Proc::new(stat.session).is_none(),
            "step 8, the intermediate process has ended, and is reaped"
        );
        assert_eq!(
            Proc::new(stat.ppid).unwrap().name().as_deref(),
            Some("keeper"),
            "step 8, a child of init"
        );
        assert_eq!(
            descriptors[&0].target,
            Path::new("/dev/null"),
            "step 9, stdin"
        );
        let log = self.path("log");
        assert!(
            [1, 2]
                .iter()
                .all(|number| descriptors[number].target == log),
            "step 9, stdout and stderr"
        );
        assert_eq!(mode_and_owner(&log), (0o640, self.uid), "step 9, the log");
        assert_eq!(status.umask, Some(0o027), "step 10, the umask");
        assert_eq!(
            mode_and_owner(&self.path("work/written")),
            (0o640, self.uid),
            "step 10, a new file"
        );
        assert_eq!(
            daemon.cwd(),
            self.path("work"),
            "step 11, the working directory"
        );
        self.assert_pidfile(daemon);
        self.assert_identity(daemon);
        assert!(
            self.path("work/written").exists(),
            "step 14, init was over when the starter ended"
        );
    }

    fn assert_environment(&self, daemon: &Proc) {
        let environ = fs::read_to_string(self.path("work/environ")).unwrap();
        let mut names: Vec<_> = environ
            .split_terminator('\0')
            .map(|entry| entry.split_once('=').unwrap().0)
            .collect();
        names.sort_unstable();
        let user = User::from_uid(Uid::from_raw(self.uid)).unwrap();
        let wanted: &[_] = match user {
            Some(_) => &["HOME", "KEPT", "LANG", "LOGNAME", "PATH", "SHELL", "USER"],
            None => &["HOME", "KEPT", "LANG", "PATH"],
        };
        assert_eq!(names, wanted, "step 4, the environment");
        let left = daemon.environ_bytes();
        assert!(
            !left.windows(7).any(|bytes| bytes == b"hunter2"),
            "step 4, /proc/PID/environ"
        );
        assert!(!daemon.memory_contains(b"hunter2"), "step 4, the memory");
    }

    fn assert_pidfile(&self, daemon: &Proc) {
        let pidfile = self.path("pid");
        let pid = format!("{}\n", daemon.pid());
        assert_eq!(
            fs::read_to_string(&pidfile).unwrap(),
            pid,
            "step 12, the pid in the pidfile"
        );
        assert_eq!(
            mode_and_owner(&pidfile),
            (0o600, self.starter),
            "step 12, mode and owner of the pidfile"
        );
        let (_, descriptor) = daemon
            .descriptor_of(&pidfile)
            .expect("step 12, one descriptor of the pidfile");
        assert_eq!(
            descriptor.access(),
            libc::O_RDONLY,
            "step 12, which cannot forge it"
        );
        assert_eq!(descriptor.flocks(), 1, "step 12, the lock");
    }

    fn assert_identity(&self, daemon: &Proc) {
        let status = daemon.status();
        let gid = User::from_uid(Uid::from_raw(self.uid))
            .unwrap()
            .map_or(self.uid, |user| user.gid.as_raw());
        assert_eq!(
            [status.ruid, status.euid, status.suid, status.fuid],
            [self.uid; 4],
            "step 13, user ids"
        );
        assert_eq!(
            [status.rgid, status.egid, status.sgid, status.fgid],
            [gid; 4],
            "step 13, group ids"
        );
        if self.uid != 0 {
            if self.uid != self.starter {
                assert_eq!(status.groups, [4711], "step 13, supplementary groups");
            }
            let sets = [
                status.capprm,
                status.capeff,
                status.capinh,
                status.capamb.unwrap(),
            ];
            assert_eq!(sets, [0; 4], "step 13, capabilities");
        }
        assert_eq!(
            status.nonewprivs,
            Some(u64::from(self.uid != self.starter)),
            "step 13, no_new_privs"
        );
    }

    /// It ends as it should.
    fn assert_end(&self, daemon: &Proc) {
        self.scene.stop(daemon);
        assert_eq!(
            fs::read_to_string(self.path("log")).unwrap(),
            "",
            "it had no reason to complain"
        );
        // Who may not write the directory cannot remove it.
        assert_eq!(
            self.path("pid").exists(),
            self.uid != self.starter,
            "the pidfile"
        );
        assert_eq!(self.scene.lock_holders(self.path("pid")), Vec::<i32>::new());
        self.scene.assert_no_leftovers();
    }

    fn assert_all(&self, launch: Launch<'_>) {
        let started = launch.run();
        started.assert_ready(); // Step 15.
        let daemon = self.scene.daemon();
        self.assert_steps(&daemon, started.pid);
        assert_eq!(
            (daemon.stat().nice, limit(&daemon)),
            (5, "4000 5000".to_owned()),
            "what is inherited stays"
        );
        assert_eq!(
            fs::read_to_string(format!("/proc/{}/oom_score_adj", daemon.pid())).unwrap(),
            "321\n"
        );
        self.assert_end(&daemon);
    }
}

/// The limit of open files, soft and hard.
fn limit(process: &Proc) -> String {
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.pid())).unwrap();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .unwrap();
    line.split_whitespace()
        .take(2)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Permission bits and owner.
fn mode_and_owner(path: &Path) -> (u32, u32) {
    let found = fs::metadata(path).unwrap();
    (found.mode() & 0o7777, found.uid())
}

#[test]
fn all_fifteen_steps_as_root_for_nobody() {
    require!(root());
    let whole = Whole::new(0, 65534);
    whole.assert_all(whole.launch());
}

#[test]
fn all_fifteen_steps_as_root() {
    require!(root());
    let whole = Whole::new(0, 0);
    whole.assert_all(whole.launch());
    assert!(
        !whole.scene.terminal().shown().contains("whole"),
        "{}",
        whole.scene.terminal().shown()
    );
}

#[test]
fn all_fifteen_steps_as_an_ordinary_user() {
    require!(root());
    let whole = Whole::new(4711, 4711);
    whole.assert_all(whole.launch());
}

#[test]
fn all_fifteen_steps_as_whoever_runs_the_test() {
    require!(unprivileged());
    let me = geteuid().as_raw();
    let whole = Whole::new(me, me);
    let started = whole.launch().run();
    started.assert_ready();
    whole.assert_steps(&whole.scene.daemon(), started.pid);
}

/// As a session's leader without a terminal, it would get the one that it opens.
#[test]
fn step_7_a_terminal_that_is_opened_does_not_become_its_own() {
    require!(root());
    let whole = Whole::new(0, 65534);
    let terminal = whole.scene.terminal().path().to_owned();
    whole
        .launch()
        .set("privileged_init:open", terminal)
        .run()
        .assert_ready();
    assert_eq!(whole.scene.daemon().stat().tty_nr, 0);
}
