//! A log file of limited size: when it is full, it becomes NAME.1, what was that becomes NAME.2, and so
//! on.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};

use crate::error::{During, Error};
use crate::report::log;
use crate::step::Step;
use crate::steps::streams::{LOG_MODE, Rotation, open_log};
use crate::sys;
use crate::sys::safe_open::same_file;
use crate::sys::stat::{fstat, lstat};

pub(super) struct RotatedFile {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    /// It was said that it cannot be rotated.
    complained: bool,
}

impl RotatedFile {
    /// Opens the file, in a directory in which this user can rename it.
    pub(super) fn open(path: PathBuf, rotation: Rotation) -> Result<Self, Error> {
        let file = open_log(&path, None, LOG_MODE)?.into();
        let directory = path.parent().unwrap_or(&path);
        let rights = AccessFlags::W_OK | AccessFlags::X_OK;
        faccessat(AT_FDCWD, directory, rights, AtFlags::AT_EACCESS).during(
            Step::ConnectStreams,
            format_args!("{}, to rotate the log there", directory.display()),
        )?;
        Ok(Self {
            path,
            rotation,
            file,
            complained: false,
        })
    }

    /// Appends lines, and rotates between them. What cannot be written is lost: the service must not
    /// wait for room on a disk.
    pub(super) fn write(&mut self, mut lines: &[u8]) {
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
            _ = self.file.write_all(&lines[..fitting]);
            lines = &lines[fitting..];
        }
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
        let during = |result: io::Result<()>, path: &Path| {
            result.during(Step::ConnectStreams, path.display())
        };
        during(sys::lock(&self.file).map_err(Into::into), &self.path)?;
        let in_place = self
            .is_in_place()
            .during(Step::ConnectStreams, self.path.display())?;
        if in_place {
            for number in (1..self.rotation.keep).rev() {
                let older = self.numbered(number + 1);
                match fs::rename(self.numbered(number), &older) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    renamed => during(renamed, &older)?,
                }
            }
            let first = self.numbered(1);
            during(fs::rename(&self.path, &first), &first)?;
        }
        self.file = open_log(&self.path, None, LOG_MODE)?.into();
        self.complained = false;
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
