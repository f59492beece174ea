//! The starts that are walked, and what comes of each if nothing fails.

use std::path::{Path, PathBuf};

use daemon_tests::{Launch, Scene, Stdio, bin};

/// The name that the service is given, with which each message begins.
pub(crate) const NAME: &str = "full";

/// The starts. Each makes calls that the others do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Root starts it with every setting, but `chroot`; nothing is there yet.
    AllSettings,
    /// The same over what a dead instance has left, into a chroot, from a hostile place with stdin closed.
    Hostile,
    /// `init` fails.
    Failing,
    /// An ordinary user starts it.
    Ordinary,
}

pub(crate) const SCENARIOS: [Scenario; 4] =
    [Scenario::AllSettings, Scenario::Hostile, Scenario::Failing, Scenario::Ordinary];

/// The user `nobody` and the group `nogroup`.
const NOBODY: u32 = 65534;
const ADM: u32 = 4;
/// Some user who has an account on no machine.
const ORDINARY: u32 = 4711;
const CAP_NET_BIND_SERVICE: u64 = 1 << 10;

/// What is true of the daemon of a good start.
pub(crate) struct Expected {
    pub(crate) uid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) capabilities: u64,
    pub(crate) no_new_privs: u64,
    pub(crate) root: PathBuf,
    pub(crate) directory: PathBuf,
}

impl Scenario {
    /// Whether the daemon is to become ready.
    pub(crate) fn succeeds(self) -> bool {
        self != Self::Failing
    }

    /// Where an ordinary user may write, too.
    fn directory(self, scene: &Scene) -> PathBuf {
        if self == Self::Ordinary { scene.path("home") } else { scene.path("") }
    }

    pub(crate) fn pidfile(self, scene: &Scene) -> PathBuf {
        self.directory(scene).join("service.pid")
    }

    pub(crate) fn control_socket(self, scene: &Scene) -> PathBuf {
        self.directory(scene).join("service.pid.control")
    }

    pub(crate) fn logs(self, scene: &Scene) -> [PathBuf; 2] {
        ["out.log", "err.log"].map(|name| self.directory(scene).join(name))
    }

    /// Prepares the scene for it.
    pub(crate) fn launch(self, scene: &Scene) -> Launch<'_> {
        scene.dir("inside", 0o755, None);
        if self == Self::Ordinary {
            scene.dir("home", 0o755, Some(ORDINARY));
        }
        let [out, err] = self.logs(scene);
        let launch = scene
            .launch(bin("svc"))
            .stdin(Stdio::Pipe) // Not /dev/null, which it is to become.
            .set("name", NAME)
            .set("pidfile", self.pidfile(scene))
            .set("control_socket", "")
            .set("umask", "027")
            .set("keep_env", "KEPT,ALSO_*")
            .set("start_timeout", "8000")
            .set("stdout", &out)
            .set("stderr", &err)
            .env("KEPT", "kept")
            .env("SECRET", "hunter2")
            .arg("configure:print=configured\n")
            .arg("init:status=half way");
        match self {
            Self::Ordinary => launch.ordinary(ORDINARY).set("working_directory", scene.path("inside")),
            Self::AllSettings => dropping(launch).set("working_directory", scene.path("inside")),
            Self::Failing => dropping(launch).set("working_directory", scene.path("inside")).arg("init:err=on purpose"),
            Self::Hostile => {
                scene.file("service.pid", "999999999\n");
                scene.file("service.pid.control", "");
                for log in [out, err] {
                    scene.file(log, "from before\n");
                }
                dropping(launch)
                    .hostile()
                    .stdin(Stdio::Closed)
                    .set("chroot", scene.path(""))
                    .set("working_directory", "/inside")
            }
        }
    }

    pub(crate) fn expected(self, scene: &Scene) -> Expected {
        let ordinary = self == Self::Ordinary;
        Expected {
            uid: if ordinary { ORDINARY } else { NOBODY },
            groups: if ordinary { vec![] } else { vec![ADM, NOBODY] },
            capabilities: if ordinary { 0 } else { CAP_NET_BIND_SERVICE },
            no_new_privs: u64::from(!ordinary),
            root: if self == Self::Hostile { scene.path("").components().collect() } else { Path::new("/").into() },
            directory: scene.path("inside"),
        }
    }
}

/// As root, which is given up.
fn dropping(launch: Launch<'_>) -> Launch<'_> {
    launch
        .set("user", "nobody")
        .set("group", "nogroup")
        .set("groups", "nogroup,adm")
        .set("capabilities", "CAP_NET_BIND_SERVICE")
        .set("no_new_privs", "true")
}
