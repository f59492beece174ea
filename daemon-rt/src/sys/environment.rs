//! The environment, and the memory in which it was inherited.

use std::ffi::{CStr, CString, OsString, c_char};
#[cfg(target_os = "linux")]
use std::ops::Range;
use std::ptr;

use nix::libc;

use super::Start;
#[cfg(target_os = "linux")]
use super::environment_before_main;

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

/// The memory in which the kernel has put the inherited environment. /proc/PID/environ shows it for
/// ever.
pub(crate) struct InheritedEnvironment {
    start: *mut u8,
    length: usize,
}

impl InheritedEnvironment {
    const NONE: Self = Self {
        start: ptr::null_mut(),
        length: 0,
    };

    /// Finds that memory. The strings lie one after the other, and the program's own path follows
    /// them. Entries that were put elsewhere before `main` are left out.
    #[cfg(target_os = "linux")]
    pub(crate) fn find(_: &Start) -> Self {
        // A program may have removed the first variable since.
        let first = match environment_before_main() {
            Some(first) => first,
            None => match first_on_stack() {
                Some(first) => first,
                None => return Self::NONE,
            },
        };
        Self {
            start: first.cast(),
            length: strings().end - first.addr(),
        }
    }

    /// Finds none: where it is differs from system to system.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn find(_: &Start) -> Self {
        Self::NONE
    }

    /// Overwrites that memory. Before, [`set_environment`] has to replace the environment, so that
    /// no pointer into it is left.
    pub(crate) fn erase(&self) {
        if self.length > 0 {
            // SAFETY: these bytes of the initial stack are writable and belong to the process. By the
            // promise that `find` was given no other code keeps a pointer into them, or late, it may
            // keep one no longer than until the next setenv(3).
            unsafe { ptr::write_bytes(self.start, 0, self.length) };
        }
    }
}

/// The addresses of the strings that the kernel has put on the initial stack, up to the program's
/// own path.
#[cfg(target_os = "linux")]
#[expect(clippy::cast_possible_truncation, reason = "both are addresses")]
fn strings() -> Range<usize> {
    // SAFETY: getauxval(3) has no precondition.
    let end = unsafe { libc::getauxval(libc::AT_EXECFN) } as usize;
    // SAFETY: as above. The kernel puts these bytes below the strings.
    let below = unsafe { libc::getauxval(libc::AT_RANDOM) } as usize;
    below..end
}

/// The first of the environment's strings that are where the kernel has put them. No other thread may
/// change the environment meanwhile.
#[cfg(target_os = "linux")]
pub(super) fn first_on_stack() -> Option<*mut c_char> {
    let strings = strings();
    pointers()
        .filter(|entry| strings.contains(&entry.addr()))
        .min()
}

/// The pointers of `environ`. No other thread may change the environment meanwhile.
fn pointers() -> impl Iterator<Item = *mut c_char> {
    // SAFETY: the callers are alone: by the promise, by the proof, or before `main`.
    let mut next = unsafe { environ };
    std::iter::from_fn(move || {
        if next.is_null() {
            return None;
        }
        // SAFETY: `next` is within the array, which ends with a null pointer.
        let entry = unsafe { *next };
        if entry.is_null() {
            next = ptr::null_mut();
            return None;
        }
        // SAFETY: this entry is not the null pointer that ends the array.
        next = unsafe { next.add(1) };
        Some(entry)
    })
}

/// Returns the entries of the environment as they are, with or without an `=`.
pub(crate) fn environment(_start: &Start) -> impl Iterator<Item = &CStr> {
    // SAFETY: each entry is a string that ends with a NUL byte, and it stays where it is while the
    // caller holds `start`: no other code changes the environment.
    pointers().map(|entry| unsafe { CStr::from_ptr(entry) })
}

/// Replaces the whole environment.
pub(crate) fn set_environment(_: &Start, entries: Vec<CString>) {
    let mut array: Vec<*mut c_char> = entries.into_iter().map(CString::into_raw).collect();
    array.push(ptr::null_mut());
    // SAFETY: no other thread reads it: by the promise, or by the proof; array and strings are never freed, as a
    // program may keep what getenv(3) gave it.
    unsafe { environ = array.leak().as_mut_ptr() };
}

/// Adds a variable to the environment.
pub(crate) fn set(_: &Start, name: &str, value: &str) {
    // SAFETY: no other thread reads the environment: by the promise, or by the proof.
    unsafe { std::env::set_var(name, value) };
}

/// Removes a variable from the environment.
pub(crate) fn unset(_: &Start, name: &str) {
    // SAFETY: no other thread reads the environment: by the promise, or by the proof.
    unsafe { std::env::remove_var(name) };
}

/// Takes a variable out of the environment, so that no process that is started later sees it, and
/// returns its value.
pub(crate) fn take_variable(start: &Start, name: &str) -> Option<OsString> {
    let value = std::env::var_os(name)?;
    unset(start, name);
    Some(value)
}

/// The same for a number; `None` if the value is not one.
pub(crate) fn take_number<T: std::str::FromStr>(start: &Start, name: &str) -> Option<T> {
    parse(&take_variable(start, name)?)
}

/// Reads a number in a variable's value.
pub(crate) fn parse<T: std::str::FromStr>(value: &OsString) -> Option<T> {
    value.to_str()?.parse().ok()
}
