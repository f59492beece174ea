//! Signal actions and handlers, and signals sent and received.

use std::ffi::{c_int, c_void};
use std::mem;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::SigSet;
#[cfg(all(feature = "cli", target_os = "linux"))]
use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// A signal handler. It must do only what signal-safety(7) allows.
pub(crate) type Handler = extern "C" fn(c_int);

/// A signal handler that gets all that the kernel tells (SA_SIGINFO), so that it can call the
/// previous one: see [`Previous::call`].
pub(crate) type SiginfoHandler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// The highest signal number, real-time signals included.
pub(crate) const LAST_SIGNAL: c_int = 64;

/// Returns the number of a signal by its name, with or without `SIG`, or by its number.
#[cfg(all(feature = "cli", target_os = "linux"))]
pub(crate) fn signal_number(text: &str) -> Option<c_int> {
    if let Ok(number) = text.parse() {
        return if (1..=LAST_SIGNAL).contains(&number) {
            Some(number)
        } else {
            None
        };
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    match format!("SIG{name}").parse::<Signal>() {
        Ok(signal) => Some(signal as c_int),
        Err(_) => None,
    }
}

/// Checks whether a signal has its default action.
pub(crate) fn is_default(signal: c_int) -> bool {
    has_action(signal, libc::SIG_DFL)
}

/// Checks whether the kernel calls a handler at a signal.
#[cfg(target_os = "linux")]
pub(crate) fn is_handled(signal: c_int) -> bool {
    matches!(action(signal), Ok(action) if is_function(&action))
}

/// Checks whether the kernel calls this handler at a signal.
pub(crate) fn is_handled_by(signal: c_int, handler: Handler) -> bool {
    has_action(signal, handler as libc::sighandler_t)
}

/// Checks whether the kernel calls this handler with SA_SIGINFO at a signal.
pub(crate) fn is_handled_by_siginfo(signal: c_int, handler: SiginfoHandler) -> bool {
    has_action(signal, handler as libc::sighandler_t)
}

fn has_action(signal: c_int, wanted: libc::sighandler_t) -> bool {
    matches!(action(signal), Ok(action) if action.sa_sigaction == wanted)
}

fn is_function(action: &libc::sigaction) -> bool {
    ![libc::SIG_DFL, libc::SIG_IGN, libc::SIG_ERR].contains(&action.sa_sigaction)
}

/// The present action of a signal.
fn action(signal: c_int) -> nix::Result<libc::sigaction> {
    // SAFETY: all zeros are a valid sigaction.
    let mut old: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: no new action is given, and `old` is writable.
    let result = unsafe { libc::sigaction(signal, ptr::null(), &raw mut old) };
    Errno::result(result).map(|_| old)
}

/// The former action of a signal.
pub(crate) struct Action(libc::sigaction);

/// Installs a handler until [`restore`] is called.
pub(crate) fn handle_for_now(signal: c_int, handler: Handler) -> nix::Result<Action> {
    set_action(signal, handler as libc::sighandler_t, 0)
}

/// Puts a signal back to its default action until [`restore`] is called.
pub(crate) fn reset_for_now(signal: c_int) -> nix::Result<Action> {
    set_action(signal, libc::SIG_DFL, 0)
}

/// Gives a signal its former action back.
#[inline]
pub(crate) fn restore(signal: c_int, Action(old): &Action) -> nix::Result<()> {
    if old.sa_sigaction == libc::SIG_DFL && old.sa_flags == 0 {
        return reset(signal);
    }
    // SAFETY: the action is one that sigaction(2) has reported for this signal, so its handler, if
    // any, is the program's own.
    Errno::result(unsafe { libc::sigaction(signal, &raw const *old, ptr::null_mut()) }).map(drop)
}

/// Installs a handler. System calls that it interrupts are restarted, and no other signal interrupts
/// the handler.
pub(crate) fn handle(signal: c_int, handler: Handler) -> nix::Result<()> {
    set_action(signal, handler as libc::sighandler_t, 0).map(drop)
}

/// Installs `handler` in place of `own`, or in front of another part's handler, which it has to call
/// by `previous`.
///
/// The mask and the flags of that other handler stay as its author chose them: one that is to
/// interrupt system calls (no SA_RESTART), or to run on another stack, still does.
pub(crate) fn chain_handler(
    signal: c_int,
    handler: SiginfoHandler,
    own: Handler,
    previous: &Previous,
) -> nix::Result<()> {
    let mut action = action(signal)?;
    if !is_function(&action) || action.sa_sigaction == own as libc::sighandler_t {
        return set_action(signal, handler as libc::sighandler_t, libc::SA_SIGINFO).map(drop);
    }
    // Kept before the new handler can be called.
    _ = previous.action.set(action);
    action.sa_sigaction = handler as libc::sighandler_t;
    // `Previous` calls a handler once that is to be called once.
    action.sa_flags = action.sa_flags & !libc::SA_RESETHAND | libc::SA_SIGINFO;
    // SAFETY: the action is an `SiginfoHandler`, which is written for signal context and gets what
    // SA_SIGINFO promises.
    let result = unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    Errno::result(result).map(drop)
}

fn set_action(signal: c_int, action: libc::sighandler_t, flags: c_int) -> nix::Result<Action> {
    // SAFETY: all zeros are a valid sigaction.
    let (mut new, mut old): (libc::sigaction, libc::sigaction) = unsafe { mem::zeroed() };
    new.sa_sigaction = action;
    new.sa_flags = libc::SA_RESTART | flags;
    new.sa_mask = *SigSet::all().as_ref();
    // SAFETY: the action is the default one or a handler of the kind that the flags name, written
    // for signal context.
    let result = unsafe { libc::sigaction(signal, &raw const new, &raw mut old) };
    Errno::result(result).map(|_| Action(old))
}

/// The handler of another part of the program, which a handler of this library has replaced and has
/// to call. It is read in signal handlers: it neither allocates nor waits.
#[derive(Debug)]
pub(crate) struct Previous {
    action: OnceLock<libc::sigaction>,
    /// Set when a handler that is to be called once (SA_RESETHAND) has been called.
    spent: AtomicBool,
}

impl Previous {
    /// No handler, yet.
    pub(crate) const fn none() -> Self {
        Self {
            action: OnceLock::new(),
            spent: AtomicBool::new(false),
        }
    }

    /// Checks whether there is a handler to call.
    #[cfg(target_os = "linux")]
    pub(crate) fn is_handler(&self) -> bool {
        self.action.get().is_some() && !self.spent.load(Ordering::Acquire)
    }

    /// Calls the previous handler with what the kernel has told the present one. Returns `false` if
    /// there is none.
    pub(crate) fn call(
        &self,
        signal: c_int,
        info: *mut libc::siginfo_t,
        context: *mut c_void,
    ) -> bool {
        let Some(action) = self.action.get() else {
            return false;
        };
        if action.sa_flags & libc::SA_RESETHAND != 0 && self.spent.swap(true, Ordering::AcqRel) {
            return false;
        }
        let function = action.sa_sigaction as *const ();
        if action.sa_flags & libc::SA_SIGINFO != 0 {
            // SAFETY: with this flag, the kernel had this address as that of a function with these
            // arguments.
            let function = unsafe { mem::transmute::<*const (), SiginfoHandler>(function) };
            function(signal, info, context);
        } else {
            // SAFETY: as above; without the flag it has this one argument.
            let function = unsafe { mem::transmute::<*const (), extern "C" fn(c_int)>(function) };
            function(signal);
        }
        true
    }
}

/// The kernel's own calls. The C library's sigaction(2) refuses the signals that it keeps for itself
/// (glibc: 32 and 33), but a caller can have ignored them all the same. And each page of code that a
/// daemon calls has to be mapped anew after the fork: all that is called here is syscall(2).
#[cfg(target_os = "linux")]
mod kernel {
    use super::{Errno, c_int, libc, ptr};

    // Its structure begins with the handler (on MIPS after the flags), and is no larger than these
    // words. Its mask has 8 bytes (16 on MIPS).
    const MIPS: bool = cfg!(any(target_arch = "mips", target_arch = "mips64"));
    const MASK_BYTES: usize = if MIPS { 16 } else { 8 };
    type Action = [usize; 16];

    /// Checks whether a signal is ignored.
    pub(crate) fn is_ignored(signal: c_int) -> nix::Result<bool> {
        let mut old: Action = [0; 16];
        let none = ptr::null::<usize>();
        // SAFETY: the array is larger than the kernel's structure, and no new action is given.
        let result = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                none,
                old.as_mut_ptr(),
                MASK_BYTES,
            )
        };
        Errno::result(result).map(|_| old[usize::from(MIPS)] == libc::SIG_IGN)
    }

    /// Puts a signal back to its default action.
    pub(crate) fn reset(signal: c_int) -> nix::Result<()> {
        // Zeros mean SIG_DFL, no flags, an empty mask.
        let new: Action = [0; 16];
        let none = ptr::null_mut::<usize>();
        // SAFETY: the array is larger than the kernel's structure, and the default action calls
        // nothing.
        let result = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                new.as_ptr(),
                none,
                MASK_BYTES,
            )
        };
        Errno::result(result).map(drop)
    }

    /// Lets every signal through.
    #[inline]
    pub(crate) fn unblock_all() -> nix::Result<()> {
        let empty = [0_u8; MASK_BYTES];
        let none = ptr::null_mut::<u8>();
        // SAFETY: the mask is readable and has the size that is told, and the old one is not asked
        // for.
        let result = unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                libc::SIG_SETMASK,
                empty.as_ptr(),
                none,
                MASK_BYTES,
            )
        };
        Errno::result(result).map(drop)
    }
}

#[cfg(target_os = "linux")]
pub(crate) use kernel::{is_ignored, reset, unblock_all};

/// Lets every signal through.
#[cfg(not(target_os = "linux"))]
pub(crate) fn unblock_all() -> nix::Result<()> {
    use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};

    // nix's `thread_set_mask` never fails: pthread_sigmask(3) returns its error number, not -1.
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}

/// Checks whether a signal is ignored. One that does not exist is not.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_ignored(signal: c_int) -> nix::Result<bool> {
    match action(signal) {
        Err(Errno::EINVAL) => Ok(false),
        action => Ok(action?.sa_sigaction == libc::SIG_IGN),
    }
}

/// Puts a signal back to its default action.
#[cfg(not(target_os = "linux"))]
pub(crate) fn reset(signal: c_int) -> nix::Result<()> {
    set_action(signal, libc::SIG_DFL, 0).map(drop)
}

/// Ends this process by the default action of a signal, as if it had never been handled.
pub(crate) fn die_of(signal: c_int) {
    _ = reset(signal);
    // It takes effect at the latest when the mask lets the signal through.
    _ = kill(nix::unistd::getpid(), signal);
}

/// Sends a signal. (nix knows no real-time ones.)
pub(crate) fn kill(pid: Pid, signal: c_int) -> nix::Result<()> {
    // SAFETY: kill(2) touches no memory.
    Errno::result(unsafe { libc::kill(pid.as_raw(), signal) }).map(drop)
}

/// Waits for any signal, all of them being blocked. Also returns whether the kernel has sent it, for
/// a terminal. (nix's does not, and knows no real-time signals.)
pub(crate) fn next_signal() -> (c_int, bool) {
    let all = SigSet::all();
    // SAFETY: all zeros are a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
    loop {
        #[cfg(not(target_vendor = "apple"))]
        // SAFETY: the set is readable and `info` writable.
        let signal = unsafe { libc::sigwaitinfo(all.as_ref(), &raw mut info) };
        #[cfg(target_vendor = "apple")]
        // SAFETY: the set is readable and `info.si_signo` writable.
        let signal = match unsafe { libc::sigwait(all.as_ref(), &raw mut info.si_signo) } {
            0 => info.si_signo,
            _ => -1,
        };
        if signal > 0 {
            return (signal, info.si_code > 0);
        }
    }
}
