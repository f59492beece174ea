//! The starts that are walked, and what comes of each if nothing fails.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::{env, fs};

use daemon_harness::{Launch, Proc, Scene, Stdio};

use super::manager::Manager;
use super::services::{deferred, full, handing_over, launching};
use super::strike::Role;

/// The name that the service is given, with which each message begins.
const NAME: &str = "full";

/// The starts. Each makes calls that the others do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Root starts it with every setting, but `chroot`; nothing is there yet.
    AllSettings,
    /// The same over what a dead instance has left, into a chroot, from a hostile place with stdin
    /// closed.
    Hostile,
    /// `init` fails.
    Failing,
    /// An ordinary user starts it.
    Ordinary,
    /// `main` says itself when it is ready.
    Deferred,
    /// A manager started it, which is told by the starter; `configure` has it detach all the same.
    Notifying,
    /// A manager started it, which it tells itself: in the foreground, with a pidfile and the
    /// privilege drop.
    Foreground,
    /// An instance runs, and hands over to the new one.
    Restart,
    /// The same as `AllSettings`, but not first in `main`: what is inherited was noted before.
    Late,
    /// A program launches it, and goes on.
    Launched,
}

pub(crate) const SCENARIOS: [Scenario; 10] = [
    Scenario::AllSettings,
    Scenario::Hostile,
    Scenario::Failing,
    Scenario::Ordinary,
    Scenario::Deferred,
    Scenario::Notifying,
    Scenario::Foreground,
    Scenario::Restart,
    Scenario::Late,
    Scenario::Launched,
];

/// The user `nobody` and the group `nogroup`.
const NOBODY: u32 = 65534;
const ADM: u32 = 4;
/// Some user who has an account on no machine.
const ORDINARY: u32 = 4711;
const CAP_NET_BIND_SERVICE: u64 = 1 << 10;

/// A start that is about to be made, and who else has to do with it.
pub(crate) struct Stage<'s> {
    pub(crate) launch: Launch<'s>,
    pub(crate) manager: Option<Manager>,
    pub(crate) old: Option<Old>,
}

/// The instance that runs before a restart.
pub(crate) struct Old {
    pub(crate) process: Proc,
    /// Where it answers, and the next one is to.
    pub(crate) address: SocketAddr,
}

/// What is true of the daemon of a good start.
pub(crate) struct Expected {
    pub(crate) uid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) capabilities: u64,
    pub(crate) no_new_privs: u64,
    pub(crate) umask: u32,
    pub(crate) root: PathBuf,
    pub(crate) directory: PathBuf,
    /// Where the standard streams lead: to what starts with this.
    pub(crate) streams: [PathBuf; 3],
}

impl Scenario {
    /// Whether the daemon is to become ready.
    pub(crate) fn succeeds(self) -> bool {
        self != Self::Failing
    }

    /// What the processes of the start are to it, in the order in which they come to be.
    pub(crate) fn roles(self) -> &'static [Role] {
        match self {
            Self::Foreground => &[Role::Daemon],
            Self::Launched => &[
                Role::Caller,
                Role::Starter,
                Role::Intermediate,
                Role::Daemon,
            ],
            _ => &[Role::Starter, Role::Intermediate, Role::Daemon],
        }
    }

    /// The daemon's last call of the start: its number, how many bytes (or pieces) it is about, and
    /// with which byte they begin.
    pub(crate) fn last_call(self) -> (i64, u64, Option<u8>) {
        match self {
            // It waits for the word that it owns the service now.
            Self::Restart => (libc::SYS_read, 1, None),
            // The newline is the last that the manager is told.
            Self::Foreground => (libc::SYS_write, 1, Some(b'\n')),
            // It says that it is ready.
            _ => (libc::SYS_writev, 2, Some(b'R')),
        }
    }

    /// What the service is called by.
    fn program(self) -> &'static str {
        match self {
            Self::Deferred => deferred::NAME,
            Self::Restart => handing_over::NAME,
            Self::Late => full::LATE,
            Self::Launched => launching::NAME,
            _ => full::NAME,
        }
    }

    /// With what a message begins: before `configure` has set the name it is the binary's.
    pub(crate) fn names(self) -> [&'static str; 2] {
        match self {
            Self::Launched => [NAME, full::NAME],
            _ => [NAME, self.program()],
        }
    }

    /// Where an ordinary user may write, too.
    fn directory(self, scene: &Scene) -> PathBuf {
        if self == Self::Ordinary {
            scene.path("home")
        } else {
            scene.path("")
        }
    }

    pub(crate) fn pidfile(self, scene: &Scene) -> PathBuf {
        self.directory(scene).join("service.pid")
    }

    pub(crate) fn control_socket(self, scene: &Scene) -> PathBuf {
        self.directory(scene).join("service.pid.control")
    }

    fn logs(self, scene: &Scene) -> [PathBuf; 2] {
        ["out.log", "err.log"].map(|name| self.directory(scene).join(name))
    }

    /// Prepares the scene for it.
    pub(crate) fn stage(self, scene: &Scene) -> Stage<'_> {
        if self == Self::Restart {
            scene.dir("service", 0o755, Some(NOBODY));
            control(scene, "start").run().assert_ready();
            let old = Old {
                process: scene.daemon(),
                address: address(scene),
            };
            return Stage {
                launch: control(scene, "restart"),
                manager: None,
                old: Some(old),
            };
        }
        let launch = self.launch(scene);
        if ![Self::Notifying, Self::Foreground].contains(&self) {
            return Stage {
                launch,
                manager: None,
                old: None,
            };
        }
        let manager = Manager::new(scene);
        Stage {
            launch: manager.named_in(launch),
            manager: Some(manager),
            old: None,
        }
    }

    fn launch(self, scene: &Scene) -> Launch<'_> {
        scene.dir("inside", 0o755, None);
        if self == Self::Ordinary {
            scene.dir("home", 0o755, Some(ORDINARY));
        }
        let [out, err] = self.logs(scene);
        let launch = scene
            .launch(this_program())
            .arg0(self.program())
            .stdin(Stdio::Pipe) // Not /dev/null, which it is to become.
            .set("name", NAME)
            .set("pidfile", self.pidfile(scene))
            .set("control_socket", "")
            .set("umask", "027")
            .set(
                "working_directory",
                if self == Self::Hostile {
                    "/inside".into()
                } else {
                    scene.path("inside")
                },
            )
            .set("keep_env", "KEPT,ALSO_*")
            .set("start_timeout", "8000")
            .set("stdout", &out)
            .set("stderr", &err)
            .env("KEPT", "kept")
            .env("SECRET", "hunter2");
        match self {
            Self::Ordinary => launch.ordinary(ORDINARY),
            Self::Late => dropping(launch).descriptors([7, 63]),
            Self::Failing => dropping(launch).arg(full::FAIL),
            Self::Notifying => dropping(launch).set("mode", "detach").descriptors([7, 63]),
            Self::Foreground => dropping(launch)
                .set("mode", "foreground")
                .ignoring_all()
                .blocking_all()
                .arg(full::SAY_WHEN),
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
            }
            _ => dropping(launch),
        }
    }

    pub(crate) fn expected(self, scene: &Scene) -> Expected {
        let [out, err] = self.logs(scene);
        let null = || PathBuf::from("/dev/null");
        let pipe = || PathBuf::from("pipe:");
        let all_settings = Expected {
            uid: NOBODY,
            groups: vec![ADM, NOBODY],
            capabilities: CAP_NET_BIND_SERVICE,
            no_new_privs: 1,
            umask: 0o027,
            root: "/".into(),
            directory: scene.path("inside"),
            streams: [null(), out, err],
        };
        match self {
            Self::Hostile => Expected {
                root: scene.path("").components().collect(),
                ..all_settings
            },
            Self::Ordinary => Expected {
                uid: ORDINARY,
                groups: vec![],
                capabilities: 0,
                no_new_privs: 0,
                ..all_settings
            },
            // These are the manager's business.
            Self::Foreground => Expected {
                umask: 0o022,
                directory: "/".into(),
                streams: [pipe(), pipe(), pipe()],
                ..all_settings
            },
            Self::Restart => Expected {
                groups: vec![NOBODY],
                capabilities: 0,
                umask: 0o022,
                directory: "/".into(),
                streams: [null(), null(), null()],
                ..all_settings
            },
            _ => all_settings,
        }
    }
}

/// A command to the service that can hand over, which root starts and which gives that up.
pub(crate) fn control<'s>(scene: &'s Scene, command: &str) -> Launch<'s> {
    scene
        .launch(this_program())
        .arg0(handing_over::NAME)
        .arg(command)
        .env(handing_over::PIDFILE, Scenario::Restart.pidfile(scene))
        .env(handing_over::ADDRESS, scene.path("service/address"))
}

/// The services are this program.
fn this_program() -> PathBuf {
    env::current_exe().expect("the path of this program")
}

/// Where it answers.
pub(crate) fn address(scene: &Scene) -> SocketAddr {
    let address = fs::read_to_string(scene.path("service/address")).expect("the service listens");
    address.parse().expect("an address")
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
