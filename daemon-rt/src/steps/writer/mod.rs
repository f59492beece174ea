//! The log's writer: a process beside the service, which reads its streams from a pipe. So the system
//! log gets whole messages, and a file is rotated between two lines by the only one who writes it. The
//! pipe outlives the service: what was said before a crash is read to its end.

mod file;

#[cfg(target_os = "linux")]
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
#[cfg(target_os = "linux")]
use nix::sys::prctl::set_name;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::wait::WaitPidFlag;
use nix::syslog::Severity;
use nix::unistd::{ForkResult, chdir, dup2_stderr, dup2_stdin, dup2_stdout, getpid, read, setsid};

use self::file::RotatedFile;
use super::descriptors::close_others;
use super::privileges::{self, Privileges};
use super::streams::{Logs, Rotation, Target};
use crate::daemon::log::SYSLOG;
use crate::error::{During, Error, Failure};
use crate::report::log;
use crate::report::pipe::{self, Message, Receiver, Reporter};
use crate::report::syslog::{SendError, SystemLog};
use crate::step::Step;
use crate::sys::{self, SingleThreaded, StartOfMain, retry};

/// The writer's name among the processes: not the service's, so that pkill(1) of that leaves it alone.
#[cfg(target_os = "linux")]
pub(crate) const NAME: &CStr = c"log-writer";
/// The longest line that is passed on in one piece.
const LONGEST: usize = 1 << 16;
/// Time limit for a log daemon that is being restarted.
const RESTART: Duration = Duration::from_secs(5);
/// Pause between two tries to reach it.
const PAUSE: Duration = Duration::from_millis(100);

/// Tells whether a writer is wanted.
pub(crate) fn is_wanted(logs: &Logs) -> bool {
    [&logs.stdout, &logs.stderr]
        .into_iter()
        .any(|target| is_written(target, logs.rotation))
}

fn is_written(target: &Target, rotation: Option<Rotation>) -> bool {
    match target {
        Target::Syslog => true,
        Target::Path(_) => rotation.is_some(),
        Target::Null | Target::Journal | Target::Keep | Target::File(_) => false,
    }
}

/// Starts a writer for each log that wants one, and returns the logs with pipes in their places.
pub(crate) fn start(
    alone: &SingleThreaded,
    null: &OwnedFd,
    logs: &Logs,
    privileges: &Privileges,
) -> Result<Logs, Failure> {
    let mut piped = Logs {
        stdout: logs.stdout.clone(),
        stderr: logs.stderr.clone(),
        name: logs.name.clone(),
        rotation: None,
    };
    let begin = |target: &Target| {
        let writer = Writer {
            target: target.clone(),
            rotation: logs.rotation,
            tag: format!("{}[{}]", logs.name, getpid()),
        };
        writer.start(alone, null, privileges)
    };
    if is_written(&logs.stdout, logs.rotation) {
        piped.stdout = begin(&logs.stdout)?;
    }
    if is_written(&logs.stderr, logs.rotation) {
        piped.stderr = if same_log(&logs.stdout, &logs.stderr) {
            piped.stdout.clone()
        } else {
            begin(&logs.stderr)?
        };
    }
    Ok(piped)
}

fn same_log(one: &Target, other: &Target) -> bool {
    match (one, other) {
        (Target::Syslog, Target::Syslog) => true,
        (Target::Path(one), Target::Path(other)) => one == other,
        _ => false,
    }
}

/// What the process is to write, and where.
struct Writer {
    target: Target,
    rotation: Option<Rotation>,
    /// The service's name and pid.
    tag: String,
}

impl Writer {
    /// Starts the process as no child of the service's, which waits for children of its own. Returns
    /// the pipe to it, when the log is open.
    fn start(
        &self,
        alone: &SingleThreaded,
        null: &OwnedFd,
        privileges: &Privileges,
    ) -> Result<Target, Failure> {
        let object = "a pipe to the log's writer";
        let (lines, stream) = sys::pipe().during(Step::ConnectStreams, object)?;
        for end in [&lines, &stream] {
            fcntl(end, FcntlArg::F_SETFL(OFlag::empty())).during(Step::ConnectStreams, object)?;
        }
        let (reporter, receiver) = pipe::channel().during(Step::ConnectStreams, object)?;
        let fork = || sys::fork(alone).during(Step::ConnectStreams, "the log's writer");
        match fork()? {
            ForkResult::Parent { child } => {
                _ = sys::wait(child, WaitPidFlag::empty());
                reporter.close();
                outcome(receiver)?;
                if let Target::Syslog = self.target {
                    log::takes_severities(&stream);
                }
                Ok(Target::File(Arc::new(File::from(stream))))
            }
            ForkResult::Child => StartOfMain::ending_here(|start| {
                _ = setsid();
                match fork() {
                    Ok(ForkResult::Child) => self.run(start, null, &lines, reporter, privileges),
                    Ok(ForkResult::Parent { .. }) => 0,
                    Err(error) => fail(reporter, error),
                }
            }),
        }
    }

    /// Writes until the pipe's end, and returns the exit status. No signal ends it before: what tells
    /// a session to end means the service.
    fn run(
        &self,
        start: &StartOfMain,
        null: &OwnedFd,
        lines: &OwnedFd,
        mut reporter: Reporter,
        privileges: &Privileges,
    ) -> u8 {
        let opened = self.prepare(start, null, lines, &reporter, privileges);
        let mut log = match opened {
            Ok(log) => log,
            Err(error) => return fail(reporter, error),
        };
        _ = reporter.tell(&Message::Ready);
        reporter.close();
        copy_lines(|lines| log.write(&self.tag, lines));
        0
    }

    fn prepare(
        &self,
        start: &StartOfMain,
        null: &OwnedFd,
        lines: &OwnedFd,
        reporter: &Reporter,
        privileges: &Privileges,
    ) -> Result<OpenLog, Error> {
        let object = "the log's writer";
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)
            .during(Step::ConnectStreams, object)?;
        dup2_stdin(lines).during(Step::ConnectStreams, object)?;
        dup2_stdout(null).during(Step::ConnectStreams, object)?;
        dup2_stderr(null).during(Step::ConnectStreams, object)?;
        #[cfg(target_os = "linux")]
        {
            _ = set_name(NAME);
        }
        close_others(start, vec![reporter.as_fd().as_raw_fd()])?;
        chdir("/").during(Step::ConnectStreams, object)?;
        privileges::give_up(&privileges.outside_chroot(), None)?;
        Ok(match (&self.target, self.rotation) {
            (Target::Path(path), Some(rotation)) => {
                OpenLog::File(RotatedFile::open(path.clone(), rotation)?)
            }
            _ => OpenLog::System {
                log: SystemLog::connect().during(Step::ConnectStreams, SYSLOG)?,
                absent: None,
            },
        })
    }
}

/// Tells the service why there is no writer, and returns the exit status.
fn fail(mut reporter: Reporter, error: Error) -> u8 {
    _ = reporter.tell(&Message::Failed(error.into()));
    1
}

/// Waits until the writer is ready.
fn outcome(mut receiver: Receiver) -> Result<(), Failure> {
    let mut told = None;
    while told.is_none() && !receiver.ended() {
        let mut pipe = [PollFd::new(receiver.as_fd(), PollFlags::POLLIN)];
        retry(|| poll(&mut pipe, PollTimeout::NONE))
            .during(Step::ConnectStreams, "the log's writer")?;
        receiver
            .read(|message| told = Some(message))
            .during(Step::ConnectStreams, "the log's writer")?;
    }
    match told {
        Some(Message::Ready) => Ok(()),
        Some(Message::Failed(failure)) => Err(failure),
        _ => {
            let error = std::io::Error::other("it has died");
            Err(Error::step(Step::ConnectStreams, "the log's writer", error).into())
        }
    }
}

/// Reads standard input up to its end, and passes on whole lines, each with its end. The last may have
/// none, and be empty.
fn copy_lines(mut pass_on: impl FnMut(&[u8])) {
    let (mut buffer, mut unread) = (vec![0; LONGEST], 0);
    while let Ok(length @ 1..) = retry(|| read(std::io::stdin(), &mut buffer[unread..])) {
        let end = unread + length;
        let complete = match buffer[..end].iter().rposition(|&byte| byte == b'\n') {
            Some(last) => last + 1,
            None if end == buffer.len() => end,
            None => 0,
        };
        if complete > 0 {
            pass_on(&buffer[..complete]);
            buffer.copy_within(complete..end, 0);
        }
        unread = end - complete;
    }
    pass_on(&buffer[..unread]);
}

enum OpenLog {
    System {
        log: SystemLog,
        /// When it was found that no log daemon is there.
        absent: Option<Instant>,
    },
    File(RotatedFile),
}

impl OpenLog {
    fn write(&mut self, tag: &str, lines: &[u8]) {
        match self {
            Self::File(file) => file.write(lines),
            Self::System { log, absent } => {
                for line in String::from_utf8_lossy(lines).lines() {
                    send(log, absent, tag, line);
                }
            }
        }
    }
}

/// Sends a line, with the severity with which it begins, see sd-daemon(3). One for which no log daemon
/// comes back in time is lost, and so are the next ones until it is there.
fn send(log: &mut SystemLog, absent: &mut Option<Instant>, tag: &str, line: &str) {
    let (severity, line) = match line.as_bytes() {
        [b'<', digit @ b'0'..=b'7', b'>', ..] => (severity(digit - b'0'), &line[3..]),
        _ => (Severity::LOG_INFO, line),
    };
    while log.write(severity, tag, line) == Err(SendError::Disconnected) {
        if absent.get_or_insert_with(Instant::now).elapsed() >= RESTART {
            return;
        }
        std::thread::sleep(PAUSE);
    }
    *absent = None;
}

fn severity(number: u8) -> Severity {
    match number {
        0 => Severity::LOG_EMERG,
        1 => Severity::LOG_ALERT,
        2 => Severity::LOG_CRIT,
        3 => Severity::LOG_ERR,
        4 => Severity::LOG_WARNING,
        5 => Severity::LOG_NOTICE,
        6 => Severity::LOG_INFO,
        _ => Severity::LOG_DEBUG,
    }
}
