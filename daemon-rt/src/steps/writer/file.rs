//! A log file of limited size: when it is full, it becomes NAME.1, what was that becomes NAME.2, and so
//! on.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{AccessFlags, faccessat, write};

use crate::error::{During, Error};
use crate::report::log;
use crate::step::Step;
use crate::steps::streams::{LOG_MODE, Rotation, open_log};
use crate::sys::safe_open::same_file;
use crate::sys::stat::{fstat, lstat};
use crate::sys::{self, retry};

/// Time limit for another writer, which rotates the file. Whoever can read it can lock it for good.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause between two tries to lock it.
const PAUSE: Duration = Duration::from_millis(1);

pub(super) struct RotatedFile {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    /// It was said that it cannot be rotated.
    complained: bool,
    lost: Lost,
}

/// What could not be written since the last line that could.
#[derive(Default)]
struct Lost {
    bytes: usize,
    /// The beginning of the first such line is in the file.
    within_line: bool,
}

impl RotatedFile {
    /// Opens the file, in a directory in which this user can rename it.
    pub(super) fn open(path: PathBuf, mut rotation: Rotation) -> Result<Self, Error> {
        let file = open_log(&path, None, LOG_MODE)?.into();
        let directory = path.parent().unwrap_or(&path);
        let rights = AccessFlags::W_OK | AccessFlags::X_OK;
        faccessat(AT_FDCWD, directory, rights, AtFlags::AT_EACCESS).during(
            Step::ConnectStreams,
            format_args!("{}, to rotate the log there", directory.display()),
        )?;
        if let Ok((limit, _)) = getrlimit(Resource::RLIMIT_FSIZE) {
            #[allow(
                clippy::useless_conversion,
                clippy::unnecessary_fallible_conversions,
                reason = "its type is another on other systems"
            )]
            let limit = u64::try_from(limit).unwrap_or(u64::MAX);
            // A line beyond it would be cut, and all that come after it would be lost.
            rotation.size = rotation.size.min(limit);
        }
        Ok(Self {
            path,
            rotation,
            file,
            complained: false,
            lost: Lost::default(),
        })
    }

    /// Appends lines, and rotates between them. What cannot be written is lost, and a line says so
    /// later, at the end at the latest: the service must not wait for room on a disk.
    pub(super) fn write(&mut self, lines: &[u8]) {
        if self.lost.bytes > 0 {
            let lost = std::mem::take(&mut self.lost);
            let end = if lost.within_line { "\n" } else { "" };
            let (name, bytes) = (log::name(), lost.bytes);
            self.append(
                format!("{end}{name}: {bytes} bytes of this log are lost here\n").as_bytes(),
            );
            if self.lost.bytes > 0 {
                self.lost = Lost {
                    bytes: bytes + lines.len(),
                    ..lost
                };
                return;
            }
        }
        self.append(lines);
    }

    fn append(&mut self, mut lines: &[u8]) {
        while !lines.is_empty() {
            let size = self.size();
            let mut fitting = fitting(lines, self.rotation.size.saturating_sub(size), size == 0);
            if fitting == 0 {
                match self.rotate() {
                    Ok(()) => continue,
                    Err(error) => self.complain(&error),
                }
                fitting = lines.len();
            }
            let (now, rest) = lines.split_at(fitting);
            self.put(now);
            lines = rest;
        }
    }

    fn put(&mut self, lines: &[u8]) {
        let mut written = 0;
        while written < lines.len() {
            match retry(|| write(&self.file, &lines[written..])) {
                Ok(length) => written += length,
                Err(_) => break,
            }
        }
        let (written, unwritten) = lines.split_at(written);
        if self.lost.bytes == 0 {
            self.lost.within_line = !written.is_empty() && !written.ends_with(b"\n");
        }
        self.lost.bytes += unwritten.len();
    }

    /// The size of the file, which is opened again if it is no longer at its path.
    fn size(&mut self) -> u64 {
        if let Ok(false) = self.is_in_place() {
            if let Ok(file) = open_log(&self.path, None, LOG_MODE) {
                self.file = file.into();
            }
        }
        match self.file.metadata() {
            Ok(found) => found.len(),
            Err(_) => 0,
        }
    }

    fn is_in_place(&self) -> io::Result<bool> {
        match lstat(&self.path) {
            Ok(there) => Ok(same_file(&there, &fstat(&self.file)?)),
            Err(Errno::ENOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// In a restart the writers of both instances have the file open: the lock is with the file, and
    /// the second finds it gone.
    fn rotate(&mut self) -> Result<(), Error> {
        self.lock()
            .during(Step::ConnectStreams, self.path.display())?;
        let rotated = self.exchange();
        // The file may be the same as before.
        _ = sys::unlock(&self.file);
        rotated?;
        self.complained = false;
        Ok(())
    }

    fn lock(&self) -> io::Result<()> {
        let began = Instant::now();
        loop {
            match sys::try_lock(self.file.as_fd()) {
                // Another instance's writer is a matter of a restart: without locks it goes as well.
                Ok(()) | Err(Errno::ENOLCK | Errno::ENOSYS | Errno::EOPNOTSUPP) => return Ok(()),
                Err(Errno::EWOULDBLOCK) if self.complained || began.elapsed() > PATIENCE => {
                    return Err(io::Error::other("another process has locked it"));
                }
                Err(Errno::EWOULDBLOCK) => std::thread::sleep(PAUSE),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Puts an empty file in the place of the full one.
    fn exchange(&mut self) -> Result<(), Error> {
        let during = |result: io::Result<()>, path: &Path| {
            result.during(Step::ConnectStreams, path.display())
        };
        let in_place = self
            .is_in_place()
            .during(Step::ConnectStreams, self.path.display())?;
        if in_place {
            // Up to the first that is missing: if the last step fails, no other try moves them again.
            let mut last = 1;
            while last < self.rotation.keep && lstat(&self.numbered(last)).is_ok() {
                last += 1;
            }
            for number in (1..last).rev() {
                let older = self.numbered(number + 1);
                during(fs::rename(self.numbered(number), &older), &older)?;
            }
            let first = self.numbered(1);
            during(fs::rename(&self.path, &first), &first)?;
        }
        match open_log(&self.path, None, LOG_MODE) {
            Ok(file) => self.file = file.into(),
            // It was removed: no one can read what it has, and it need not grow.
            Err(_) if matches!(fstat(&self.file), Ok(found) if found.st_nlink == 0) => {
                during(self.file.set_len(0), &self.path)?;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    fn complain(&mut self, error: &Error) {
        if !self.complained {
            self.complained = true;
            let line = format!("{}: {error}: going on with the old file\n", log::name());
            _ = self.file.write_all(line.as_bytes());
        }
    }
}

/// The length of the lines for which there is room; in an empty file at least that of the first.
fn fitting(lines: &[u8], room: u64, is_empty: bool) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if lines.len() <= room {
        return lines.len();
    }
    let is_end = |byte: &u8| *byte == b'\n';
    match lines[..room].iter().rposition(is_end) {
        Some(last) => last + 1,
        None if is_empty => match lines.iter().position(is_end) {
            Some(first) => first + 1,
            None => lines.len(),
        },
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::fitting;

    #[test]
    fn lines_are_whole() {
        assert_eq!(fitting(b"one\ntwo\n", 8, false), 8);
        assert_eq!(fitting(b"one\ntwo\n", 7, false), 4);
        assert_eq!(fitting(b"one\ntwo\n", 3, false), 0);
        assert_eq!(fitting(b"one\ntwo\n", 3, true), 4);
        assert_eq!(fitting(b"endless", 3, true), 7);
    }
}
