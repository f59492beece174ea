//! Files in memory.

use std::ffi::CStr;
use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Makes a file for what a command prints. A pipe ends only when each process that has it is gone, and
/// the command may leave one behind.
pub(super) fn memory_file(name: &CStr) -> io::Result<File> {
    // Where programs in memory are forbidden, this has to be said.
    let no_program = MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    let file = match memfd_create(name, MFdFlags::MFD_CLOEXEC | no_program) {
        // Before Linux 6.3.
        Err(Errno::EINVAL) => memfd_create(name, MFdFlags::MFD_CLOEXEC)?,
        result => result?,
    };
    Ok(file.into())
}
