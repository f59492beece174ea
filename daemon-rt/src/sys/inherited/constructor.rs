//! The constructor: it runs before `main`, and notes what was inherited. Other constructors may not
//! have run yet, so it uses the C library alone.

use std::ffi::c_char;
use std::mem;
use std::os::fd::RawFd;
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, getrlimit};

use super::Place;
use crate::sys::kept::{InheritedFd, is_kept_on_exec};
use crate::sys::stat::stat;
use crate::sys::{FIRST, environment, retry};

static HAS_RUN: AtomicBool = AtomicBool::new(false);
/// The notes, which are never freed.
static NOTES: AtomicPtr<InheritedFd> = AtomicPtr::new(ptr::null_mut());
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// The error because of which the notes are not complete, or 0.
static PROBLEM: AtomicI32 = AtomicI32::new(0);
/// Where the strings of the environment began.
static ENVIRONMENT: AtomicPtr<c_char> = AtomicPtr::new(ptr::null_mut());

/// The numbers that are asked for one by one. Most descriptors have one of these.
const FEW: RawFd = 64;
/// How many poll(2) is asked for at once.
const BATCH: usize = 1024;
/// The number from which on none is looked for.
const END: RawFd = 1 << 20;

unsafe extern "C" {
    /// The beginning of the program or library of which this code is a part. The linker defines it.
    static __ehdr_start: u8;
}

/// Notes what was inherited, unless it is the program's `main` that asks for it. A program may have
/// this several times; the first call counts.
pub(super) unsafe extern "C" fn constructor<P: Place>() {
    if P::is_main() || !is_in_program() || HAS_RUN.swap(true, Ordering::Relaxed) {
        return;
    }
    if let Some(first) = environment::first_on_stack() {
        ENVIRONMENT.store(first, Ordering::Release);
    }
    if let Err(error) = note_descriptors() {
        PROBLEM.store(error as i32, Ordering::Release);
    }
}

/// Checks whether this code is a part of the program itself: a library may be loaded later, when
/// other descriptors are open.
fn is_in_program() -> bool {
    const PAGE: usize = 4096;
    // SAFETY: getauxval(3) has no precondition.
    let headers = unsafe { libc::getauxval(libc::AT_PHDR) };
    let start = (&raw const __ehdr_start).addr();
    match usize::try_from(headers) {
        Ok(headers) => headers.wrapping_sub(start) < PAGE,
        Err(_) => false,
    }
}

/// Notes the descriptors above 2 that are open, and that exec(2) would not close.
fn note_descriptors() -> nix::Result<()> {
    let number = number_of_open();
    let mut left = number.unwrap_or(usize::MAX);
    let mut fd = 0;
    while left > 0 && fd < FEW {
        left -= usize::from(note(fd)?);
        fd += 1;
    }
    if left == 0 {
        return Ok(());
    }
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let limit = RawFd::try_from(limit).unwrap_or(RawFd::MAX);
    let end = if number.is_some() {
        END
    } else {
        END.min(limit)
    };
    // poll(2) takes no more than the limit.
    let batch = usize::try_from(limit).unwrap_or(0).clamp(1, BATCH);
    while left > 0 && fd < end {
        let mut asked = ask(fd);
        let asked = &mut asked[..batch];
        poll(asked)?;
        for asked in asked {
            if asked.revents & libc::POLLNVAL == 0 && note(asked.fd)? {
                left = left.saturating_sub(1);
            }
            fd = asked.fd + 1;
        }
    }
    Ok(())
}

/// The number of open descriptors; `None` before Linux 6.2, and without /proc.
fn number_of_open() -> Option<usize> {
    match stat(c"/proc/self/fd") {
        Ok(directory) if directory.st_size > 0 => usize::try_from(directory.st_size).ok(),
        _ => None,
    }
}

/// The question to poll(2) which descriptors from `first` up are open.
fn ask(first: RawFd) -> [libc::pollfd; BATCH] {
    let mut fd = first;
    [(); BATCH].map(|()| {
        let asked = libc::pollfd {
            fd,
            events: 0,
            revents: 0,
        };
        fd += 1;
        asked
    })
}

/// Asks without waiting.
fn poll(asked: &mut [libc::pollfd]) -> nix::Result<()> {
    retry(|| {
        // SAFETY: the structures are writable, and there are that many.
        let found = unsafe { libc::poll(asked.as_mut_ptr(), asked.len() as libc::nfds_t, 0) };
        Errno::result(found).map(drop)
    })
}

/// Notes a descriptor, if it is inherited; `false` if it is not open.
fn note(fd: RawFd) -> nix::Result<bool> {
    match is_kept_on_exec(fd) {
        Err(Errno::EBADF) => return Ok(false),
        Ok(true) if fd >= FIRST => {}
        other => return other.map(|_| true),
    }
    match InheritedFd::find(fd) {
        Some(inherited) => push(inherited)?,
        None => return Ok(false),
    }
    Ok(true)
}

/// Adds a note.
fn push(inherited: InheritedFd) -> nix::Result<()> {
    const MORE: usize = 64;
    let count = COUNT.load(Ordering::Relaxed);
    let mut notes = NOTES.load(Ordering::Relaxed);
    if count % MORE == 0 {
        let size = (count + MORE) * mem::size_of::<InheritedFd>();
        // SAFETY: it is null, or came from the last call.
        notes = unsafe { libc::realloc(notes.cast(), size) }.cast();
        if notes.is_null() {
            return Err(Errno::ENOMEM);
        }
        NOTES.store(notes, Ordering::Relaxed);
    }
    // SAFETY: there is room for a multiple of `MORE` notes that is greater than `count`.
    let place = unsafe { notes.add(count) };
    // SAFETY: as above; what realloc(3) returns is aligned for anything.
    unsafe { place.write(inherited) };
    COUNT.store(count + 1, Ordering::Release);
    Ok(())
}

/// The descriptors that were noted.
///
/// # Errors
/// If they could not all be noted.
pub(crate) fn noted() -> nix::Result<&'static [InheritedFd]> {
    match PROBLEM.load(Ordering::Acquire) {
        0 => {}
        error => return Err(Errno::from_raw(error)),
    }
    let count = COUNT.load(Ordering::Acquire);
    if count == 0 {
        return Ok(&[]);
    }
    // SAFETY: that many notes were written there before `main`, and are never changed or freed.
    Ok(unsafe { slice::from_raw_parts(NOTES.load(Ordering::Relaxed), count) })
}

/// Where the strings of the environment began; `None` if that was not noted.
pub(crate) fn environment_before_main() -> Option<*mut c_char> {
    let first = ENVIRONMENT.load(Ordering::Acquire);
    if first.is_null() { None } else { Some(first) }
}
