//! Who holds the pidfile, and whether that one is ready: what is said of it wherever one asks (C1
//! to C7, B6).
//!
//! Each answer is compared with what this test sees itself: an own flock(2), and the service's
//! processes.
//!
//! | module | holds |
//! | --- | --- |
//! | `containers` | C1, C2: pid namespaces, few capabilities, a worker that is left |
//! | `rights` | C3, C4: who may look at whom, and locks of others |
//! | `places` | C5, C6: what is left at the end; odd paths, clocks, kernels |
//! | `failures` | C7: what fails, and leaves nothing |
//! | `removed` | D1, C3: what others do to the pidfile |
//! | `starting` | B6: not ready yet |

mod containers;
mod failures;
mod places;
mod removed;
mod rights;
mod starting;

use std::fs::File;
use std::path::{Path, PathBuf};

use daemon_harness::{Launch, Namespaces, Proc, Scene, Started, bin};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Some user who has an account on no machine.
const ORDINARY: u32 = 4711;

/// What docker leaves root by default.
const DOCKER: [u32; 14] = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31];

/// The service in a scene, and who controls it from where.
#[derive(Clone)]
struct Held<'s> {
    scene: &'s Scene,
    program: PathBuf,
    pidfile: PathBuf,
    words: String,
    uid: Option<u32>,
    as_in_docker: bool,
    place: Option<(Namespaces, i32)>,
}

impl<'s> Held<'s> {
    fn new(scene: &'s Scene) -> Self {
        Self::at(scene, scene.pidfile())
    }

    fn at(scene: &'s Scene, pidfile: PathBuf) -> Self {
        let words = format!("pidfile={}", pidfile.display());
        Self {
            scene,
            program: bin("held"),
            pidfile,
            words,
            uid: None,
            as_in_docker: false,
            place: None,
        }
    }

    /// That of an ordinary user, in a directory of that user's.
    fn ordinary(scene: &'s Scene) -> Self {
        let directory = scene.dir("ordinary", 0o755, Some(ORDINARY));
        Self {
            uid: Some(ORDINARY),
            ..Self::at(scene, directory.join("service.pid"))
        }
    }

    fn with(&self, word: &str) -> Self {
        Self {
            words: format!("{} {word}", self.words),
            ..self.clone()
        }
    }

    /// The commands are given by root as docker lets it be.
    fn as_in_docker(&self) -> Self {
        Self {
            as_in_docker: true,
            ..self.clone()
        }
    }

    /// The commands are given in the namespaces of this container.
    fn inside(&self, container: &Container<'_>) -> Self {
        Self {
            place: Some((container.namespaces, container.init)),
            ..self.clone()
        }
    }

    fn command(&self, line: &str) -> Launch<'s> {
        let launch = self
            .scene
            .launch(&self.program)
            .args(line.split_whitespace());
        let mut launch = launch.env("HELD", &self.words).env("DAEMON_MODE", "detach");
        if self.as_in_docker {
            launch =
                launch.bounding_without((0..=40).filter(|capability| !DOCKER.contains(capability)));
        }
        if let Some((namespaces, pid)) = self.place {
            launch = launch.in_namespaces_of(pid, namespaces);
        }
        match self.uid {
            Some(uid) => launch.ordinary(uid),
            None => launch,
        }
    }

    #[track_caller]
    fn run(&self, line: &str, status: i32) -> Started {
        let done = self.command(line).run();
        done.assert_exited(status);
        done
    }

    /// What the command prints, with this status.
    #[track_caller]
    fn says(&self, line: &str, status: i32) -> String {
        self.run(line, status).stdout
    }

    /// The processes of the program.
    fn processes(&self) -> Vec<Proc> {
        let mut found = self.scene.processes();
        found.retain(|process| process.name().as_deref() == Some("held"));
        found
    }

    /// The one process of the program, when the command that has ended is gone.
    #[track_caller]
    fn daemon(&self) -> Proc {
        let mut found = Vec::new();
        self.scene.wait_until("one process of the service", || {
            found = self.processes();
            found.len() == 1
        });
        assert!(self.is_locked(), "it does not hold the lock");
        found.remove(0)
    }

    /// Whether anyone has the flock(2), found out by trying.
    fn is_locked(&self) -> bool {
        is_locked(&self.pidfile)
    }

    /// Everything is said and done as it should be of a service that runs.
    #[track_caller]
    fn assert_is_controlled(&self) {
        self.run("start", 0);
        let first = self.daemon();
        let status = self.says("status", 0);
        assert!(status.starts_with("held is running: pid "), "{status}");
        let second = self.run("start", 80);
        second.assert_says(&["already running", "held by pid "]);
        assert_eq!(self.daemon().pid(), first.pid(), "nothing has changed");
        assert_eq!(self.says("reload", 0), "held reloaded\n");
        self.run("restart", 0);
        first.wait_gone(std::time::Duration::from_secs(10));
        let second = self.daemon();
        assert!(self.says("status", 0).starts_with("held is running: pid "));
        let stopped = self.says("stop", 0);
        assert!(stopped.starts_with("held stopped: pid "), "{stopped}");
        assert!(second.is_gone() && self.processes().is_empty());
        assert_eq!(self.says("status", 3), "held is not running\n");
        assert_eq!(self.says("stop", 0), "held is not running\n");
        assert!(!self.pidfile.exists());
    }
}

/// Whether anyone has the flock(2) of this file, if it is there, found out by trying.
fn is_locked(path: &Path) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    matches!(
        Flock::lock(file, FlockArg::LockExclusiveNonblock),
        Err((_, Errno::EWOULDBLOCK))
    )
}

/// Namespaces with a process that keeps them.
struct Container<'s> {
    namespaces: Namespaces,
    /// PID 1 in it, by its number here.
    init: i32,
    _keeps: daemon_harness::Running<'s>,
}

impl<'s> Container<'s> {
    fn new(scene: &'s Scene, namespaces: Namespaces) -> Self {
        let running = scene
            .launch("/bin/sleep")
            .arg("1000")
            .in_new_namespaces(namespaces)
            .spawn();
        let mut init = 0;
        scene.wait_until("PID 1 of the container", || {
            let below = if namespaces.pids {
                Proc::descendants(running.pid())
            } else {
                vec![running.process()]
            };
            let sleeps = |process: &&Proc| process.name().as_deref() == Some("sleep");
            init = below.iter().find(sleeps).map_or(0, Proc::pid);
            init != 0
        });
        Self {
            namespaces,
            init,
            _keeps: running,
        }
    }
}
