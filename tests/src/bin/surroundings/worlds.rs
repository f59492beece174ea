//! The surroundings.

use daemon_harness::{Hidden, Launch, Namespaces, ProcMount};

/// Some user who has an account on no machine.
pub(crate) const ORDINARY: u32 = 4711;

/// Where: the machine itself, or namespaces with a `/proc` of some kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The machine.
    Host,
    /// A pid namespace with a `/proc` of its own: a container.
    OwnProc,
    /// A pid namespace with the `/proc` of the outer one: `unshare --pid --fork`.
    OuterProc,
    /// A pid namespace without `/proc`.
    NoProc,
    /// A pid namespace with a `/proc` that shows processes alone.
    SubsetPid,
    /// The machine, with a `/proc` that hides the processes of others.
    HidePid,
}

/// Who gives the commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Root, with all capabilities; the service gives them up.
    Root,
    /// Root with the capabilities that docker leaves; the service gives them up.
    Docker,
    /// An ordinary user.
    Ordinary,
    /// An ordinary user whose program may not be read and has file capabilities, so that it is not
    /// dumpable.
    NotDumpable,
    /// Root of a user namespace that knows one user.
    OneId,
}

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Plain,
    /// The caller ignores SIGCHLD.
    ChildIgnored,
    /// The caller blocks every signal.
    Blocked,
    /// The service is PID 1.
    PidOne,
}

const PLACES: [Place; 6] = [
    Place::Host,
    Place::OwnProc,
    Place::OuterProc,
    Place::NoProc,
    Place::SubsetPid,
    Place::HidePid,
];
const USERS: [Who; 5] = [
    Who::Root,
    Who::Docker,
    Who::Ordinary,
    Who::NotDumpable,
    Who::OneId,
];
const WAYS: [How; 4] = [How::Plain, How::ChildIgnored, How::Blocked, How::PidOne];

/// The surroundings of a service and of its commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct World {
    pub(crate) place: Place,
    pub(crate) who: Who,
    pub(crate) how: How,
}

/// All that there are: only in a pid namespace can the service be PID 1.
pub(crate) fn all() -> Vec<World> {
    let mut worlds = Vec::new();
    for place in PLACES {
        for who in USERS {
            for how in WAYS {
                if how != How::PidOne || place.has_pids() {
                    worlds.push(World { place, who, how });
                }
            }
        }
    }
    worlds
}

impl Place {
    fn has_pids(self) -> bool {
        ![Self::Host, Self::HidePid].contains(&self)
    }
}

impl World {
    pub(crate) fn shown(self) -> String {
        format!("{:?}/{:?}/{:?}", self.place, self.who, self.how)
    }

    /// The namespaces, if there are any.
    pub(crate) fn namespaces(self) -> Option<Namespaces> {
        let proc = match self.place {
            Place::Host | Place::OuterProc => ProcMount::Outer,
            Place::OwnProc => ProcMount::New(Hidden::Nothing),
            Place::NoProc => ProcMount::Absent,
            Place::SubsetPid => ProcMount::New(Hidden::AllButProcesses),
            Place::HidePid => ProcMount::New(Hidden::ProcessesOfOthers),
        };
        let root_is = (self.who == Who::OneId).then_some(ORDINARY);
        let none = self.place == Place::Host && root_is.is_none();
        (!none).then_some(Namespaces {
            pids: self.place.has_pids(),
            proc,
            run_of: Some(self.owner()),
            root_is,
        })
    }

    /// Who owns the directory of the pidfile.
    pub(crate) fn owner(self) -> u32 {
        match self.who {
            Who::Root | Who::Docker => 0,
            Who::Ordinary | Who::NotDumpable | Who::OneId => ORDINARY,
        }
    }

    /// Whether the service becomes another user.
    pub(crate) fn drops(self) -> bool {
        matches!(self.who, Who::Root | Who::Docker)
    }

    /// As this user.
    pub(crate) fn by(self, launch: Launch<'_>) -> Launch<'_> {
        match self.who {
            Who::Root | Who::OneId => launch,
            Who::Docker => launch.bounding_without(TAKEN_BY_DOCKER.iter().copied()),
            Who::Ordinary | Who::NotDumpable => launch.ordinary(ORDINARY),
        }
    }

    /// With the caller's signals.
    pub(crate) fn with_signals(self, launch: Launch<'_>) -> Launch<'_> {
        match self.how {
            How::Plain | How::PidOne => launch,
            How::ChildIgnored => launch.ignoring([nix::libc::SIGCHLD]),
            How::Blocked => launch.blocking_all(),
        }
    }
}

/// All but those that docker leaves (`CAP_CHOWN`, `DAC_OVERRIDE`, `FOWNER`, `FSETID`, `KILL`,
/// `SETGID`, `SETUID`, `SETPCAP`, `NET_BIND_SERVICE`, `NET_RAW`, `SYS_CHROOT`, `MKNOD`,
/// `AUDIT_WRITE`, `SETFCAP`).
const TAKEN_BY_DOCKER: [u32; 27] = [
    2, 9, 11, 12, 14, 15, 16, 17, 19, 20, 21, 22, 23, 24, 25, 26, 28, 30, 32, 33, 34, 35, 36, 37,
    38, 39, 40,
];
