//! PID 1 of a container: the process that the kernel gives every orphan, and that no default action
//! ends.

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{ForkResult, Pid};

use super::relay::Relay;
use crate::error::{During, Error};
use crate::report::log;
use crate::report::notify::notifier;
use crate::status;
use crate::step::Step;
use crate::steps::signals;
use crate::sys::{self, End, SingleThreaded};

/// As PID 1, forks the service off and returns in that child alone, so that reaping orphans does
/// not take the exit statuses of the service's own children away from it.
pub(crate) fn serve_as_init(alone: &SingleThreaded) -> Result<(), Error> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)
        .during(Step::Fork, "the signals")?;
    let (relay, service_end) = Relay::new()
        .map(Option::unzip)
        .during(Step::Fork, "PID 1's relay to the manager")?;
    // Where `configure` has had it ignored, nobody would learn how the service has ended.
    let at_death = sys::reset_for_now(libc::SIGCHLD).during(Step::Fork, "SIGCHLD")?;
    log::flush();
    match sys::fork(alone).during(Step::Fork, "PID 1")? {
        ForkResult::Child => {
            drop(relay);
            if let Some(end) = service_end {
                notifier().send_through(end);
            }
            sys::restore(libc::SIGCHLD, &at_death).during(Step::ResetSignals, "SIGCHLD")?;
            signals::unblock_signals()
        }
        ForkResult::Parent { child } => {
            drop(service_end);
            notifier().close_fd();
            init(child, relay)
        }
    }
}

/// Forwards signals, reaps, and ends as the service does.
fn init(service: Pid, mut relay: Option<Relay>) -> ! {
    loop {
        if let Some(relay) = &mut relay {
            relay.until_signal();
        }
        let (signal, from_terminal) = sys::next_signal();
        if signal != libc::SIGCHLD {
            // A terminal's signals have reached the service as well.
            if !from_terminal {
                _ = sys::kill(service, signal);
            }
            continue;
        }
        while let Some((pid, end)) = sys::reap_any() {
            if pid == service {
                if let Some(relay) = &mut relay {
                    relay.finish();
                }
                sys::exit_now(match end {
                    End::Exited(status) => status,
                    End::Killed { signal, .. } => {
                        status::KILLED + u8::try_from(signal).unwrap_or(127).min(127)
                    }
                });
            }
        }
    }
}
