//! The service `ctl`, for the tests of the control commands.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use daemon_harness::managers::Root;
use daemon_harness::{Launch, Proc, Scene, Started, bin};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Some user who has an account on no machine.
pub const ORDINARY: u32 = 4711;

/// This machine, with the service.
pub fn root() -> Root {
    Root::new().copy("/usr/local/bin/ctl", bin("ctl"))
}

/// The service in a scene, with the scene's pidfile, and the settings that a test gives it.
#[derive(Clone)]
#[must_use = "it does nothing until a command is given"]
pub struct Ctl<'s> {
    scene: &'s Scene,
    settings: String,
    uid: Option<u32>,
}

impl<'s> Ctl<'s> {
    /// With the scene's pidfile.
    pub fn new(scene: &'s Scene) -> Self {
        Self {
            scene,
            settings: String::new(),
            uid: None,
        }
        .with("pidfile", scene.pidfile())
    }

    /// With a pidfile of an ordinary user's, who gives all commands; the test runs as root.
    pub fn ordinary(scene: &'s Scene) -> Self {
        let directory = scene.dir("ordinary", 0o755, Some(ORDINARY));
        let own = Self {
            scene,
            settings: String::new(),
            uid: None,
        };
        own.with("pidfile", directory.join("service.pid"))
            .by(ORDINARY)
    }

    /// With this setting, besides those that it has.
    pub fn with(&self, key: &str, value: impl AsRef<Path>) -> Self {
        let settings = format!("{} {key}={}", self.settings, value.as_ref().display());
        Self {
            settings,
            ..self.clone()
        }
    }

    /// The same, with the commands given by this user.
    pub fn by(&self, uid: u32) -> Self {
        Self {
            uid: Some(uid),
            ..self.clone()
        }
    }

    /// A command line, about to be given.
    pub fn command(&self, line: &str) -> Launch<'s> {
        let launch = self
            .scene
            .launch(bin("ctl"))
            .args(line.split_whitespace())
            .env("CTL", &self.settings);
        match self.uid {
            Some(uid) => launch.ordinary(uid),
            None => launch,
        }
    }

    /// What comes of it.
    pub fn run(&self, line: &str) -> Started {
        self.command(line).run()
    }

    /// Fails unless this command succeeds; what it says.
    #[track_caller]
    pub fn succeeds(&self, line: &str) -> String {
        let done = self.run(line);
        done.assert_exited(0);
        done.stdout
    }

    /// The one daemon, after a good start.
    #[track_caller]
    pub fn start(&self) -> Proc {
        self.run("start").assert_ready();
        self.scene.daemon()
    }

    /// Where its control socket is.
    pub fn socket(&self) -> PathBuf {
        control_socket(&self.scene.pidfile())
    }
}

/// The control socket beside a pidfile.
pub fn control_socket(pidfile: &Path) -> PathBuf {
    let mut path = pidfile.as_os_str().to_owned();
    path.push(".control");
    path.into()
}

/// Takes the lock that a restart has while it is under way, for as long as the file is open.
pub fn restart_lock(pidfile: &Path) -> File {
    let pidfile = OpenOptions::new().read(true).write(true).open(pidfile);
    let pidfile = pidfile.expect("the pidfile");
    let lock = libc::flock {
        l_type: libc::F_WRLCK.try_into().expect("a small number"),
        l_whence: libc::SEEK_SET.try_into().expect("a small number"),
        l_start: (1 << 24) - 3,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(&pidfile, FcntlArg::F_OFD_SETLK(&lock)).expect("the lock of a restart");
    pidfile
}
