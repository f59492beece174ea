//! THE FIFTEEN STEPS of daemon(7), "SysV Daemons": their list, then their sequence.

use nix::unistd::{ForkResult, setsid};

use crate::error::{During, Error};
use crate::handshake::{self, Failure, Message};
use crate::hooks::Stages;
use crate::plan::Plan;
use crate::starter::Starter;
use crate::sys::{self, SingleThreaded, StartOfMain};
use crate::{
    audience, capability, complain, hook, inherited, manager, pidfile, privileges, shutdown,
    surroundings,
};

macro_rules! steps {
    ($($number:literal $step:ident $words:literal)*) => {
        /// A step, by its number in daemon(7); a start in which it fails ends with the status 80 +
        /// number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(dead_code, reason = "umask(2) cannot fail")]
        pub(crate) enum Step { $($step = $number),* }

        impl Step {
            pub(crate) fn number(self) -> u8 {
                self as u8
            }

            /// What the step does, in the words of the message that says that it failed.
            pub(crate) fn words(self) -> &'static str {
                match self { $(Self::$step => $words),* }
            }
        }
    };
}

steps! {
     1 CloseDescriptors  "close the inherited descriptors"
     2 ResetSignals      "reset the signal actions"
     3 UnblockSignals    "reset the signal mask"
     4 CleanEnvironment  "clean the environment"
     5 Fork              "fork the intermediate process"
     6 NewSession        "create a new session"
     7 ForkAgain         "fork the daemon"
     8 LeaveDaemon       "leave the daemon to itself"
     9 ConnectStreams    "connect the standard streams"
    10 SetUmask          "set the umask"
    11 ChangeDirectory   "change the working directory"
    12 WritePidfile      "write the pidfile"
    13 DropPrivileges    "drop privileges"
    14 Notify            "announce that initialization is complete"
    15 ExitStarter       "wait for the daemon"
}

/// Steps 4–15, steps 1–3 having come first in `main`. It returns in the daemon alone: the starter
/// and the intermediate process end here.
pub(crate) fn detach(
    start: &StartOfMain,
    alone: &SingleThreaded,
    plan: &Plan,
    service: &mut Stages<'_>,
) -> Result<(), Failure> {
    // The starter.
    let null = surroundings::open_null()?;
    let starter = Starter::prepare(plan)?;
    pidfile::lock(plan.pidfile.as_deref())?;
    inherited::clean_environment(start, &plan.environment)?; // 4
    let (mut reporter, receiver) =
        handshake::channel().during(Step::Notify, "a pipe to the daemon")?;
    complain::flush();
    match sys::fork(alone).during(Step::Fork, "the starter")? {
        ForkResult::Child => drop(receiver), // 5
        ForkResult::Parent { child } => {
            drop(reporter);
            starter.wait(child, receiver) // 15
        }
    }

    // The intermediate process. It leaves the program's variables alone: a page that is written to
    // is copied first.
    let forked: Result<(), Error> = (|| {
        if manager::is_init() {
            return Err(first_of_its_namespace());
        }
        setsid().during(Step::NewSession, "the intermediate process")?; // 6
        capability::join_new_keyring().during(Step::NewSession, "the session keyring")?;
        match sys::fork(alone).during(Step::ForkAgain, "the intermediate process")? {
            ForkResult::Child => Ok(()), // 7
            ForkResult::Parent { child } => {
                reporter
                    .tell(&Message::Forked(child))
                    .during(Step::LeaveDaemon, audience::TO_STARTER)?;
                sys::exit_now(0) // 8
            }
        }
    })();
    audience::set_starter(reporter);
    forked?;

    // The daemon.
    starter.give_up()?;
    plan.still_ignored.reset()?; // 2, what the starter had put off
    inherited::unblock_signals()?; // 3, the same
    surroundings::connect_streams(&null, plan)?; // 9
    drop(null);
    surroundings::set_umask(plan.umask); // 10
    surroundings::change_directory(plan.directory_outside_chroot())?; // 11
    initialize(plan, service)
}

/// The caller, or `configure`, has made a pid namespace for its children alone. It ends with the
/// first of them, which is the intermediate process.
#[cold]
fn first_of_its_namespace() -> Error {
    let problem = "it would end with the intermediate process, which is its PID 1 (give `unshare --pid` its `--fork`)";
    Error::step(
        Step::LeaveDaemon,
        "the new pid namespace",
        std::io::Error::other(problem),
    )
}

/// Steps 12–14, with the hooks between them: the same in the foreground.
pub(crate) fn initialize(plan: &Plan, service: &mut Stages<'_>) -> Result<(), Failure> {
    shutdown::adopt_requests();
    // First, so that whoever finds this process by its pidfile finds the socket, too.
    plan.bind_control_socket()?;
    pidfile::write()?; // 12
    hook::run("privileged_init", service.privileged_init.take())?;
    privileges::drop(plan)?; // 13
    hook::run("init", service.init.take())?;
    if !service.defers_ready {
        audience::ready()?; // 14
    }
    Ok(())
}
