//! A change to the system: printed as commands, or made.

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::libc;

use super::compile::{COMMAND, COMPILED, SOURCE, compile};
use crate::cli::unit::shell_line;
use crate::control::keeper;

/// Time limit for a supervisor to come or go: runsvdir(8) looks each five seconds, or fourteen.
const SUPERVISOR: Duration = Duration::from_secs(60);
/// Pause between two looks for it.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) type Words = Vec<String>;

#[derive(Clone)]
pub(super) enum Change {
    Write {
        path: PathBuf,
        text: String,
        mode: u32,
    },
    Link {
        path: PathBuf,
        target: PathBuf,
    },
    /// Removes a file or a link, if it is there.
    Remove(PathBuf),
    /// Removes a service directory of which the files are gone, and what its supervisor has made
    /// there. What another has put there stays.
    RemoveDirectory(PathBuf),
    Run(Words),
    /// The same where the manager may have nothing to do, and fail.
    Try(Words),
    /// Compiles the sources of s6-rc.
    Compile,
    /// Waits until a service directory has a supervisor.
    AwaitSupervisor(PathBuf),
    /// Ends the supervisor of a service directory, if it has one, by these commands.
    EndSupervisor {
        directory: PathBuf,
        commands: Vec<Words>,
    },
}

impl Change {
    pub(super) fn run_all(commands: &[Words]) -> Vec<Self> {
        commands.iter().cloned().map(Self::Run).collect()
    }

    pub(super) fn make(&self) -> io::Result<()> {
        match self {
            Self::Write { path, text, mode } => {
                write(path, text, *mode).map_err(|error| named(path, &error))
            }
            Self::Link { path, target } => link(path, target).map_err(|error| named(path, &error)),
            Self::Remove(path) => match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(named(path, &error)),
                _ => Ok(()),
            },
            Self::RemoveDirectory(path) => remove_directory(path),
            Self::Run(words) => keeper::run(words, COMMAND).map(drop),
            Self::Try(words) => {
                _ = keeper::run(words, COMMAND);
                Ok(())
            }
            Self::Compile => compile(),
            Self::AwaitSupervisor(directory) => {
                wait(directory, "it has no supervisor", is_supervised)
            }
            Self::EndSupervisor {
                directory,
                commands,
            } => end_supervisor(directory, commands),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { path, text, mode } => {
                writeln!(f, "# {}, mode {mode:o}:\n{text}", path.display())
            }
            Self::Link { path, target } => line(f, &["ln", "-s", &shown(target), &shown(path)]),
            Self::Remove(path) => line(f, &["rm", "-f", &shown(path)]),
            Self::RemoveDirectory(path) => line(f, &["rmdir", &shown(path)]),
            Self::Run(words) | Self::Try(words) => line(f, words),
            Self::Compile => {
                line(f, &["s6-rc-compile", "NEW", SOURCE])?;
                line(f, &["s6-rc-update", "NEW"])?;
                line(f, &["ln", "-s", "NEW", COMPILED])
            }
            Self::AwaitSupervisor(directory) => {
                writeln!(f, "# wait for the supervisor of {}", directory.display())
            }
            Self::EndSupervisor {
                directory,
                commands,
            } => {
                for words in commands {
                    line(f, words)?;
                }
                let directory = directory.display();
                writeln!(f, "# wait for the end of the supervisor of {directory}")
            }
        }
    }
}

fn line(f: &mut fmt::Formatter<'_>, words: &[impl AsRef<str>]) -> fmt::Result {
    let words: Vec<_> = words.iter().map(AsRef::as_ref).collect();
    writeln!(f, "{}", shell_line(&words))
}

fn shown(path: &Path) -> Cow<'_, str> {
    path.to_string_lossy()
}

/// The error with the path that it is about.
pub(super) fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Writes a file at once: whoever looks finds the old one, or all of the new one.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(ErrorKind::InvalidInput.into());
    };
    make_directory(directory)?;
    // No manager takes a name with a dot in front for a service.
    let name = format!(".{}.{}", name.to_string_lossy(), std::process::id());
    let new = directory.join(name);
    let written = write_new(&new, text, mode).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        _ = fs::remove_file(&new);
        return written;
    }
    File::open(directory)?.sync_all()
}

fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    // Whatever the umask is.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

/// Another `install` may have made it at the same time.
fn link(path: &Path, target: &Path) -> io::Result<()> {
    match symlink(target, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => match fs::read_link(path) {
            Ok(found) if found == target => Ok(()),
            _ => Err(error),
        },
        made => made,
    }
}

/// Makes a directory that everyone may read, and those above it.
fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_directory(parent)?;
    }
    DirBuilder::new().mode(0o700).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

fn remove_directory(path: &Path) -> io::Result<()> {
    for of_supervisor in ["supervise", "event"] {
        let path = path.join(of_supervisor);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(named(&path, &error)),
            _ => {}
        }
    }
    match fs::remove_dir(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
        Err(error) => Err(named(path, &error)),
    }
}

/// Checks whether runsv(8) or s6-supervise runs in a service directory, and has looked at it.
fn is_supervised(directory: &Path) -> bool {
    let state = directory.join("supervise");
    let listens = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(state.join("control"))
        .is_ok();
    listens && state.join("status").exists()
}

fn end_supervisor(directory: &Path, commands: &[Words]) -> io::Result<()> {
    if !is_supervised(directory) {
        return Ok(());
    }
    for words in commands {
        keeper::run(words, COMMAND)?;
    }
    wait(directory, "its supervisor still runs", |directory| {
        !is_supervised(directory)
    })
}

fn wait(directory: &Path, problem: &str, condition: impl Fn(&Path) -> bool) -> io::Result<()> {
    let began = Instant::now();
    while !condition(directory) {
        if began.elapsed() > SUPERVISOR {
            let text = format!("{}: {problem} after {SUPERVISOR:?}", directory.display());
            return Err(io::Error::new(ErrorKind::TimedOut, text));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}
