//! The line in the file: a pid.

use std::io;
use std::os::fd::AsFd;

use nix::sys::uio::{pread, pwrite};
use nix::unistd::Pid;

use crate::sys::retry;
use crate::sys::stat::FileStat;

/// The length of the longest line, with its newline.
pub(super) const LONGEST_LINE: usize = 12;

/// Formats the line of a pidfile. By hand, because each page counts that a process touches when it
/// was just forked.
pub(super) fn line(pid: Pid, buffer: &mut [u8; LONGEST_LINE]) -> &[u8] {
    let mut start = buffer.len() - 1;
    buffer[start] = b'\n';
    let mut rest = pid.as_raw().unsigned_abs();
    while rest > 0 {
        start -= 1;
        buffer[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    &buffer[start..]
}

/// Writes a pid to a pidfile that may be of this size, and returns where to cut it off. Until that
/// is done, or if it never is, newlines cover what was there of a longer pid: whoever reads the file
/// finds this pid alone.
pub(crate) fn write_pid(file: impl AsFd, pid: Pid, size: i64) -> io::Result<u8> {
    let mut buffer = [b'\n'; 2 * LONGEST_LINE];
    let (before, _) = buffer
        .split_first_chunk_mut()
        .expect("it is longer than a line");
    let length = line(pid, before).len();
    let cut = u8::try_from(length).expect("it is short");
    let start = LONGEST_LINE - length;
    let text = if size > cut.into() {
        &buffer[start..][..LONGEST_LINE]
    } else {
        &buffer[start..LONGEST_LINE]
    };
    if retry(|| pwrite(&file, text, 0))? < text.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(cut)
}

/// Reads the pid in the first line of a pidfile; `None` if there is anything else.
pub(crate) fn read_pid(file: impl AsFd) -> io::Result<Option<Pid>> {
    const LONGEST: usize = 32;
    let mut start = [0; LONGEST];
    let length = retry(|| pread(&file, &mut start, 0))?;
    // The beginning of a number that is cut off would be another number.
    if length == LONGEST && !start.contains(&b'\n') {
        return Ok(None);
    }
    Ok(parse_pid(&start[..length]))
}

/// Checks whether the file may be a pidfile: what a crash has left of one, or another program's.
/// A long file that begins with something else is somebody's data, and its path is a mistake.
pub(super) fn may_be_pidfile(file: impl AsFd, found: &FileStat) -> io::Result<bool> {
    const LONGEST: u8 = 64;
    if found.st_size <= i64::from(LONGEST) {
        return Ok(true);
    }
    let mut start = [0; LONGEST as usize];
    let length = retry(|| pread(&file, &mut start, 0))?;
    let is_of_number = |byte: &u8| matches!(byte, 0 | b'0'..=b'9' | b'+' | b'-' | b' ' | b'\n');
    Ok(parse_pid(&start[..length]).is_some() || start.iter().all(is_of_number))
}

/// Reads the pid in the first line of a text.
pub(super) fn parse_pid(text: &[u8]) -> Option<Pid> {
    let line = text.split(|&byte| byte == b'\n').next()?;
    let pid: i32 = std::str::from_utf8(line).ok()?.trim().parse().ok()?;
    if pid > 0 {
        Some(Pid::from_raw(pid))
    } else {
        None
    }
}
