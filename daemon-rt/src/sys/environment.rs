//! The environment, and the memory in which it was inherited.

use std::ffi::{CStr, CString, OsString, c_char};
use std::ptr;

use nix::libc;

use super::StartOfMain;

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

/// The memory in which the kernel laid down the inherited environment, which /proc/PID/environ
/// shows for ever.
pub(crate) struct InheritedEnvironment {
    start: *mut u8,
    length: usize,
}

impl InheritedEnvironment {
    /// Notes where that memory is. The strings lie one after the other, up to that of the program's
    /// own path; entries that something before `main` has put elsewhere are left out.
    #[cfg(target_os = "linux")]
    #[expect(clippy::cast_possible_truncation, reason = "both are addresses")]
    pub(crate) fn find(start: &StartOfMain) -> Self {
        // SAFETY: getauxval(3) has no precondition.
        let end = unsafe { libc::getauxval(libc::AT_EXECFN) } as usize;
        // SAFETY: as above. The kernel puts these bytes below the strings.
        let below = unsafe { libc::getauxval(libc::AT_RANDOM) } as usize;
        let on_stack = |entry: &*mut c_char| (below..end).contains(&(*entry as usize));
        let first = pointers(start).filter(on_stack).min();
        first.map_or(
            Self {
                start: ptr::null_mut(),
                length: 0,
            },
            |first| Self {
                start: first.cast(),
                length: end - first as usize,
            },
        )
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn find(_: &StartOfMain) -> Self {
        Self {
            start: ptr::null_mut(),
            length: 0,
        }
    }

    /// Overwrites that memory, after [`set_environment`] has made sure that nothing points to it
    /// any more.
    pub(crate) fn erase(&self) {
        if self.length > 0 {
            // SAFETY: these bytes of the initial stack are writable, belong to the process, and by
            // the promise that `find` was given nobody else keeps a pointer into them.
            unsafe { ptr::write_bytes(self.start, 0, self.length) };
        }
    }
}

fn pointers(_: &StartOfMain) -> impl Iterator<Item = *mut c_char> {
    // SAFETY: by the promise no other thread changes the environment meanwhile.
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

/// The entries of the environment as they are, with or without an `=`.
pub(crate) fn environment(start: &StartOfMain) -> impl Iterator<Item = &CStr> {
    // SAFETY: each entry is a string that ends with a NUL byte, and it stays where it is while the
    // caller holds `start`: by the promise nobody else changes the environment.
    pointers(start).map(|entry| unsafe { CStr::from_ptr(entry) })
}

/// Replaces the whole environment.
pub(crate) fn set_environment(_: &StartOfMain, entries: Vec<CString>) {
    let mut array: Vec<*mut c_char> = entries.into_iter().map(CString::into_raw).collect();
    array.push(ptr::null_mut());
    // SAFETY: by the promise no other thread reads it; array and strings are never freed, as a
    // program may keep what getenv(3) gave it.
    unsafe { environ = array.leak().as_mut_ptr() };
}

/// Removes a variable from the environment.
pub(crate) fn unset(_: &StartOfMain, name: &str) {
    // SAFETY: by the promise no other thread reads the environment.
    unsafe { std::env::remove_var(name) };
}

/// A variable's value, taken out of the environment so that nothing started later can see it.
pub(crate) fn take_variable(start: &StartOfMain, name: &str) -> Option<OsString> {
    let value = std::env::var_os(name)?;
    unset(start, name);
    Some(value)
}

/// A number in a variable.
pub(crate) fn parse<T: std::str::FromStr>(value: &OsString) -> Option<T> {
    value.to_str()?.parse().ok()
}
