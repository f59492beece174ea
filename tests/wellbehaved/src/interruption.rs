//! A checker that is interrupted takes away first what it has started and put somewhere: the
//! signals wait, and whoever waits for something asks for them; then the looks end as if they had
//! failed, which takes their scenes with them.

use std::os::fd::AsFd;
use std::process::id;
use std::sync::OnceLock;

use daemon_harness::Proc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};

static WAITING: OnceLock<SignalFd> = OnceLock::new();

/// From here on these signals wait. It comes before any thread is there.
pub(crate) fn hold_off() -> nix::Result<()> {
    let me = Proc::new(i32::try_from(id()).expect("a pid")).expect("this process");
    let ignored = me.ignored(); // By nohup(1), for one.
    let all = [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ];
    let signals: SigSet = all
        .into_iter()
        .filter(|signal| !ignored.contains(&(*signal as i32)))
        .collect();
    signals.thread_block()?;
    let waiting = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)?;
    WAITING.set(waiting).expect("called once");
    Ok(())
}

/// Whether one of them has come.
pub(crate) fn is_there() -> bool {
    let Some(waiting) = WAITING.get() else {
        return false;
    };
    let mut polled = [PollFd::new(waiting.as_fd(), PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// Ends the look if one of them has come.
pub(crate) fn check() {
    assert!(!is_there(), "interrupted");
}

/// If one of them has come, this process dies of it.
pub(crate) fn die_of_it() {
    if let Some(Ok(Some(info))) = is_there()
        .then(|| WAITING.get().map(SignalFd::read_signal))
        .flatten()
    {
        let signal = Signal::try_from(info.ssi_signo.cast_signed()).expect("one of the four");
        let _ = SigSet::from(signal).thread_unblock();
        let _ = raise(signal);
    }
}
