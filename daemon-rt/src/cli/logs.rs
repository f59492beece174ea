//! The log of a service: where it is, its last lines, and the command that shows it.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::syslog::Severity;
use nix::unistd::Pid;

use crate::control::keeper::{self, Keeper};
use crate::control::{Control, Status};
use crate::daemon::log::{Log, has_journal};
use crate::daemon::{Daemon, places};
use crate::error::{Error, Failure};
use crate::report::log;
use crate::report::text::cut;
use crate::sys::{self, proc};

/// The number of lines that `status` shows.
const SHOWN: usize = 5;
/// The longest of them, in bytes.
const LONGEST: usize = 500;
/// The part of a file's end that is searched for lines.
const END: u64 = 1 << 16;
/// Time limit for journalctl(1): the state of the service is worth telling without the log.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where the log of a service is.
pub(super) enum Source {
    /// The file of standard output, that of standard error, or both.
    Files(Vec<LogFile>),
    /// The messages in the journal that these arguments of journalctl(1) select.
    Journal(Vec<String>),
    /// The system log, in a file that its daemon chooses.
    System,
}

/// A file that is a log.
#[derive(Clone)]
pub(super) struct LogFile {
    /// Its name, for a person.
    name: PathBuf,
    /// The path by which it can be read: that of a descriptor, if it has no other here.
    path: PathBuf,
}

/// Where a standard stream of a process goes.
enum Stream {
    File(LogFile),
    Socket,
    Other(String),
}

impl Source {
    /// Finds the log by what the process has as its standard streams or, if there is none or they
    /// cannot be seen, by the settings. An error says why it is not known.
    pub(super) fn find(
        daemon: &Daemon,
        process: Option<Pid>,
        keeper: Option<&Keeper>,
    ) -> Result<Self, String> {
        if let Some(pid) = process {
            if let Some(streams) = Stream::of_process(pid) {
                return Self::of_streams(daemon, pid, streams, keeper);
            }
        }
        match Self::of_settings(daemon)? {
            Some(source) => Ok(source),
            None => Err("it does not run, and no log is set".to_owned()),
        }
    }

    fn of_settings(daemon: &Daemon) -> Result<Option<Self>, String> {
        let [stdout, stderr] = [("stdout", &daemon.stdout), ("stderr", &daemon.stderr)];
        let mut files = Vec::new();
        for (setting, log) in [stdout, stderr] {
            let path = places::log(daemon, setting, log.as_ref());
            match path.map_err(|error| error.to_string())? {
                Some(path) if path != Path::new("/dev/null") => {
                    let name = path.clone();
                    add(&mut files, LogFile { name, path });
                }
                _ => {}
            }
        }
        if !files.is_empty() {
            return Ok(Some(Self::Files(files)));
        }
        if goes_to_journal(daemon) {
            return Ok(Some(Self::with_identifier(daemon)));
        }
        Ok(Self::of_system_log(daemon))
    }

    /// Where the system log is the journal, that shows it.
    fn of_system_log(daemon: &Daemon) -> Option<Self> {
        let is_syslog = |log: &&Option<Log>| matches!(log, Some(Log::Syslog));
        if ![&daemon.stdout, &daemon.stderr].iter().any(is_syslog) {
            None
        } else if has_journal() {
            Some(Self::with_identifier(daemon))
        } else {
            Some(Self::System)
        }
    }

    fn of_streams(
        daemon: &Daemon,
        pid: Pid,
        streams: [Stream; 2],
        keeper: Option<&Keeper>,
    ) -> Result<Self, String> {
        let (mut files, mut has_socket, mut has_pipe) = (Vec::new(), false, false);
        for stream in &streams {
            match stream {
                Stream::File(file) => add(&mut files, file.clone()),
                Stream::Socket => has_socket = true,
                Stream::Other(text) => has_pipe |= text.starts_with("pipe:"),
            }
        }
        if !files.is_empty() {
            return Ok(Self::Files(files));
        }
        match keeper {
            Some(keeper) if has_socket && keeper.manager == "systemd" => {
                return Ok(Self::Journal(keeper::in_journal(pid)));
            }
            _ => {}
        }
        if has_socket && goes_to_journal(daemon) {
            return Ok(Self::with_identifier(daemon));
        }
        // To the log's writer, or the caller's own.
        if has_pipe && (daemon.log_size.is_some() || Self::of_system_log(daemon).is_some()) {
            if let Some(mut source) = Self::of_settings(daemon)? {
                if !(is_read(pid, 1) && is_read(pid, 2)) {
                    source.note_end_of_writer();
                }
                return Ok(source);
            }
        }
        let [_, stderr] = streams;
        Err(format!("standard error goes to {stderr}"))
    }

    /// The service has no log any more.
    fn note_end_of_writer(&mut self) {
        if let Self::Files(files) = self {
            for file in files {
                file.name.as_mut_os_string().push(" (its writer has ended)");
            }
        }
    }

    /// The messages with the service's name.
    fn with_identifier(daemon: &Daemon) -> Self {
        Self::Journal(vec![format!("--identifier={}", daemon.get_name())])
    }

    /// The command that shows so many of the last lines. One that follows goes on with what is written
    /// later: in a file of the same name after a rotation, too.
    fn command(&self, lines: u32, follow: bool) -> io::Result<Command> {
        let (program, options, follows, selection): (_, _, _, Vec<&OsStr>) = match self {
            Self::Files(files) => {
                let files = files.iter().map(|file| file.path.as_os_str());
                ("tail", vec![format!("-n{lines}")], "-F", files.collect())
            }
            Self::Journal(selection) => {
                let options = vec!["--no-pager".to_owned(), format!("--lines={lines}")];
                let selection = selection.iter().map(OsStr::new);
                ("journalctl", options, "--follow", selection.collect())
            }
            Self::System => {
                let problem =
                    "it goes to the system log, often /var/log/syslog or /var/log/messages";
                return Err(io::Error::other(problem));
            }
        };
        let mut command = Command::new(program);
        command.args(options);
        if follow {
            command.arg(follows);
        }
        command.args(selection);
        Ok(command)
    }

    /// Returns the last lines: of standard error, if the streams have a file each. `None` if they
    /// cannot be read.
    pub(super) fn last_lines(&self) -> Option<Vec<String>> {
        let end = match self {
            Self::Files(files) => end_of(&files.last()?.path).ok()?,
            Self::Journal(selection) => {
                let words = ["journalctl", "--quiet", "--no-pager", "--output=cat"];
                let mut words: Vec<String> = words.map(str::to_owned).into();
                words.push(format!("--lines={SHOWN}"));
                words.extend_from_slice(selection);
                keeper::ask(&words, PATIENCE).ok()?
            }
            Self::System => return None,
        };
        let lines: Vec<&str> = end.lines().collect();
        let last = &lines[lines.len().saturating_sub(SHOWN)..];
        Some(
            last.iter()
                .map(|line| cut(line, LONGEST).into_owned())
                .collect(),
        )
    }
}

/// A file's path, or `journal`.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(files) => match files.last() {
                Some(file) => file.name.display().fmt(f),
                None => Ok(()),
            },
            Self::Journal(_) => f.write_str("journal"),
            Self::System => f.write_str("syslog"),
        }
    }
}

impl Stream {
    /// Looks at standard output and standard error; `None` if they cannot be seen.
    fn of_process(pid: Pid) -> Option<[Self; 2]> {
        if !proc::is_ours() {
            return None;
        }
        Some([Self::of(pid, 1)?, Self::of(pid, 2)?])
    }

    fn of(pid: Pid, number: i32) -> Option<Self> {
        let descriptor = PathBuf::from(format!("/proc/{pid}/fd/{number}"));
        let path = fs::read_link(&descriptor).ok()?;
        let open = fs::metadata(&descriptor).ok()?;
        if !open.is_file() {
            let text = path.to_string_lossy().into_owned();
            return Some(if text.starts_with("socket:") {
                Self::Socket
            } else {
                Self::Other(text)
            });
        }
        // A path may be another file's here: one that was removed, or is in another mount namespace.
        let readable = match fs::symlink_metadata(&path) {
            Ok(there) if is_same(&there, &open) => path.clone(),
            _ => descriptor,
        };
        Some(Self::File(LogFile {
            name: path,
            path: readable,
        }))
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => file.name.display().fmt(f),
            Self::Socket => f.write_str("a socket"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// Checks whether a standard stream is not a pipe without a reader: to poll(2) that is an error.
fn is_read(pid: Pid, number: i32) -> bool {
    let descriptor = format!("/proc/{pid}/fd/{number}");
    let Ok(stream) = reopen(&descriptor, FileType::is_fifo, File::options().write(true)) else {
        return true;
    };
    let mut polled = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    match poll(&mut polled, PollTimeout::ZERO) {
        Ok(1..) => polled[0].revents() != Some(PollFlags::POLLERR),
        _ => true,
    }
}

/// Opens what a descriptor of a process leads to, if it is of this kind. It is held and looked at
/// before: to open a device has an effect, and the service can have a descriptor of one to which it
/// has no right.
fn reopen(
    descriptor: impl AsRef<Path>,
    is_meant: fn(&FileType) -> bool,
    options: &mut OpenOptions,
) -> io::Result<File> {
    let mut only_held = File::options();
    only_held.read(true).custom_flags(libc::O_PATH);
    let held = only_held.open(descriptor)?;
    if !is_meant(&held.metadata()?.file_type()) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let same = format!("/proc/self/fd/{}", held.as_raw_fd());
    options.custom_flags(libc::O_NONBLOCK).open(same)
}

fn add(files: &mut Vec<LogFile>, file: LogFile) {
    let is_it = |other: &LogFile| match (fs::metadata(&other.path), fs::metadata(&file.path)) {
        (Ok(there), Ok(found)) => is_same(&there, &found),
        _ => other.path == file.path,
    };
    if !files.iter().any(is_it) {
        files.push(file);
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Tells whether a stream is set to go to the journal.
fn goes_to_journal(daemon: &Daemon) -> bool {
    let is_journal = |log: &&Option<Log>| matches!(log, Some(Log::Journal));
    [&daemon.stdout, &daemon.stderr].iter().any(is_journal)
}

/// The end of a regular file. Anything else may keep the reader waiting, and through a link the
/// service's user would have root show another file. (A descriptor leads to what is open.)
fn end_of(path: &Path) -> io::Result<String> {
    let mut options = File::options();
    options.read(true);
    let mut file = if path.starts_with("/proc") {
        reopen(path, FileType::is_file, &mut options)?
    } else {
        let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
        options.custom_flags(flags).open(path)?
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    file.seek(SeekFrom::Start(found.len().saturating_sub(END)))?;
    let mut end = Vec::new();
    file.take(END).read_to_end(&mut end)?;
    Ok(String::from_utf8_lossy(&end).into_owned())
}

impl Daemon {
    /// Becomes the command that shows the log.
    pub(super) fn show_log(
        &self,
        configured: Result<(), Failure>,
        lines: u32,
        follow: bool,
    ) -> Result<ExitCode, Failure> {
        if let Err(failure) = &configured {
            log::print(Severity::LOG_WARNING, &failure.text);
        }
        let (mut process, mut keeper) = (None, None);
        if let Ok(Some(pidfile)) = places::pidfile(self) {
            if let Ok(Status::Running { pid, .. } | Status::Starting { pid: Some(pid) }) =
                Control::new(&pidfile).status()
            {
                process = Some(sys::pid_of(pid));
                keeper = keeper::find_keeper(sys::pid_of(pid), &pidfile).unwrap_or_default();
            }
        }
        let source = match (Source::find(self, process, keeper.as_ref()), configured) {
            (Ok(source), _) => source,
            // What the library says where standard error is the null device.
            (Err(_), Ok(())) if has_journal() => Source::with_identifier(self),
            (Err(why), Ok(())) => return Err(failed("", io::Error::other(why)).into()),
            (Err(_), Err(failure)) => return Err(failure),
        };
        let command = source.command(lines, follow);
        let mut command = command.map_err(|error| failed("", error))?;
        let program = command.get_program().to_string_lossy().into_owned();
        Err(failed(&program, command.exec()).into())
    }
}

fn failed(object: &str, error: io::Error) -> Error {
    Error::control(object, error).in_command("show the log")
}
