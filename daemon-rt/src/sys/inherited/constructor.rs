//! The constructor: it runs before `main`, and notes what was inherited. Other constructors may not
//! have run yet, so it uses the C library alone.

use std::ffi::c_char;
use std::mem;
use std::os::fd::RawFd;
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use nix::libc;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::stat;

use super::Place;
use crate::sys::kept::{InheritedFd, is_kept_on_exec};
use crate::sys::{FIRST, environment};

static HAS_RUN: AtomicBool = AtomicBool::new(false);
/// The notes, which are never freed.
static NOTES: AtomicPtr<InheritedFd> = AtomicPtr::new(ptr::null_mut());
static COUNT: AtomicUsize = AtomicUsize::new(0);
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
    note_descriptors();
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
fn note_descriptors() {
    let limit = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, _)) => RawFd::try_from(soft).unwrap_or(RawFd::MAX),
        Err(_) => FEW,
    };
    let (mut left, end) = match number_of_open() {
        Some(number) => (number, END),
        None => (usize::MAX, END.min(limit)),
    };
    let mut fd = 0;
    while left > 0 && fd < FEW {
        left -= usize::from(note(fd));
        fd += 1;
    }
    // poll(2) takes no more than the limit.
    let batch = BATCH.min(usize::try_from(limit).unwrap_or(BATCH));
    while left > 0 && fd < end && batch > 0 {
        let mut asked = ask(fd);
        if !poll(&mut asked[..batch]) {
            return;
        }
        for asked in &asked[..batch] {
            if asked.revents & libc::POLLNVAL == 0 && note(asked.fd) {
                left = left.saturating_sub(1);
            }
            fd = asked.fd + 1;
        }
    }
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

/// Asks without waiting; `false` if that fails.
fn poll(asked: &mut [libc::pollfd]) -> bool {
    // SAFETY: the structures are writable, and there are that many.
    let found = unsafe { libc::poll(asked.as_mut_ptr(), asked.len() as libc::nfds_t, 0) };
    found >= 0
}

/// Notes a descriptor, if it is inherited; `false` if it is not open.
fn note(fd: RawFd) -> bool {
    match is_kept_on_exec(fd) {
        Err(_) => return false,
        Ok(false) => return true,
        Ok(true) => {}
    }
    match InheritedFd::find(fd) {
        Some(inherited) if fd >= FIRST => push(inherited),
        _ => {}
    }
    true
}

/// Adds a note, if there is memory for it: what is not noted stays open.
fn push(inherited: InheritedFd) {
    const MORE: usize = 64;
    let count = COUNT.load(Ordering::Relaxed);
    let mut notes = NOTES.load(Ordering::Relaxed);
    if count % MORE == 0 {
        let size = (count + MORE) * mem::size_of::<InheritedFd>();
        // SAFETY: it is null, or came from the last call.
        notes = unsafe { libc::realloc(notes.cast(), size) }.cast();
        if notes.is_null() {
            return;
        }
        NOTES.store(notes, Ordering::Relaxed);
    }
    // SAFETY: there is room for a multiple of `MORE` notes that is greater than `count`.
    let place = unsafe { notes.add(count) };
    // SAFETY: as above; what realloc(3) returns is aligned for anything.
    unsafe { place.write(inherited) };
    COUNT.store(count + 1, Ordering::Release);
}

/// The descriptors that were noted.
pub(crate) fn noted() -> &'static [InheritedFd] {
    let count = COUNT.load(Ordering::Acquire);
    if count == 0 {
        return &[];
    }
    // SAFETY: that many notes were written there before `main`, and are never changed or freed.
    unsafe { slice::from_raw_parts(NOTES.load(Ordering::Relaxed), count) }
}

/// Where the strings of the environment began; `None` if that was not noted.
pub(crate) fn environment_before_main() -> Option<*mut c_char> {
    let first = ENVIRONMENT.load(Ordering::Acquire);
    if first.is_null() { None } else { Some(first) }
}
