//! The restarter's part, and the value that a restart is until the fork.

use std::fs::File;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::syslog::Severity;
use nix::unistd::Pid;

use super::ending::{Old, overdue};
use super::lock::lock_restart;
use super::message::{PATIENCE, send};
use super::new::New;
use super::take_over::{TakeOver, take_over};
use super::under_way::{First, Go, HandOver};
use super::word;
use crate::control::instance::{self, Instance};
use crate::control::status::Stopped;
use crate::control::wait::until_readable;
use crate::error::Error;
use crate::report::log;
use crate::steps::pidfile;
use crate::steps::pidfile::socket::{CONTROL, NEW_CONTROL, beside};
use crate::sys::safe_open::SafePath;
use crate::sys::stat::fstat;

/// A restart that has begun. After the fork the starter keeps one half of it, the daemon the other.
pub(crate) struct Restart {
    /// The pidfile, open to be written. It holds the restart lock.
    pidfile: File,
    /// `None` where the old instance could not hand over, and has ended.
    hand_over: Option<Box<HandOver<Go>>>,
    /// Descriptors from an instance that could not hand over. To close them may take a thread, and
    /// a process that is about to fork must have no second one.
    left_open: ManuallyDrop<Vec<OwnedFd>>,
}

/// The starter's half of a restart.
pub(crate) struct Restarter {
    pidfile: File,
    hand_over: Option<Box<HandOver<File>>>,
}

/// Begins a restart, if there is something to restart: takes over from the running instance or, if
/// that cannot hand over, ends it. Without a `patience` that one is to live on.
pub(crate) fn prepare_restart(
    path: &Path,
    patience: Option<Duration>,
) -> Result<Option<Restart>, Error> {
    let during = |error| Error::control(path.display().to_string(), error);
    // Looked up before the lock is taken: a file that is not trusted must not be locked either.
    while let Some(seen) = Instance::of(path)? {
        let Some(pidfile) = lock_restart(path).map_err(during)? else {
            // An instance whose pidfile was removed cannot hand over. If the file is back, so may
            // the instance be.
            if !path.exists() {
                end(path, patience)?;
            }
            continue;
        };
        let mut restart = Restart {
            pidfile,
            hand_over: None,
            left_open: ManuallyDrop::default(),
        };
        // After other restarts, another instance may run by now.
        if let Some(instance) = Instance::of(path)? {
            let instance = if is_better_known(&seen, &instance).map_err(during)? {
                seen
            } else {
                instance
            };
            let old = Old { instance, patience };
            match take_over(path, old, &restart.pidfile).map_err(during)? {
                TakeOver::Done(hand_over) => restart.hand_over = Some(hand_over),
                TakeOver::Impossible(left_open) => {
                    restart.left_open = ManuallyDrop::new(left_open);
                    end(path, patience)?;
                }
            }
        }
        return Ok(Some(restart));
    }
    Ok(None)
}

/// Ends an instance that cannot hand over.
fn end(path: &Path, patience: Option<Duration>) -> Result<(), Error> {
    let Some(patience) = patience else {
        let problem = "the instance that runs cannot hand its pidfile over: it has no control socket, or does not answer";
        let error = io::Error::other(problem);
        return Err(Error::control(path.display().to_string(), error));
    };
    if let Stopped::Killed { pid } = instance::end(path, patience)? {
        let text = overdue(patience, &format!("was killed (pid {pid})"));
        log::print(Severity::LOG_WARNING, &text);
    }
    Ok(())
}

/// Checks whether both are the same process, of which only `seen` has a pidfd.
fn is_better_known(seen: &Instance, now: &Instance) -> io::Result<bool> {
    Ok(seen.has_pidfd()
        && !now.has_pidfd()
        && seen.pid == now.pid
        && !seen.ends_within(Duration::ZERO)?)
}

impl Restart {
    /// Keeps the starter's half, in the starter.
    pub(crate) fn into_restarter(self) -> Restarter {
        Restarter {
            pidfile: self.pidfile,
            hand_over: self.hand_over.map(|all| Box::new(all.into_restarters())),
        }
    }

    /// Keeps the daemon's half, in the daemon. It gives up the restart lock.
    pub(crate) fn into_new(self) -> New {
        New {
            hand_over: self.hand_over.map(|all| Box::new(all.into_news())),
            left_open: self.left_open,
        }
    }
}

impl Restarter {
    /// Checks whether an older instance owns the service until [`commit`](Self::commit).
    pub(crate) fn hands_over(&self) -> bool {
        self.hand_over.is_some()
    }

    /// What has been done with the service, in a word.
    pub(crate) fn verb(&self) -> &'static str {
        match &self.hand_over {
            Some(hand_over) if hand_over.old.patience.is_none() => "upgraded",
            _ => "restarted",
        }
    }

    /// Commits: the new instance is ready. Once its pid is written it owns the service, even if
    /// this process is killed.
    pub(crate) fn commit(&mut self, new: Pid) -> io::Result<()> {
        let Some(hand_over) = &mut self.hand_over else {
            return Ok(());
        };
        // After the write, only the renaming itself can fail.
        let socket = SafePath::of(&beside(&hand_over.pidfile, CONTROL))?;
        let new_socket = beside(&hand_over.pidfile, NEW_CONTROL);
        let end = pidfile::write_pid(&self.pidfile, new, i64::MAX)?;
        if let Ok(file) = fstat(&self.pidfile) {
            if file.st_nlink == 0 {
                return Err(io::Error::other(
                    "the old instance has ended, and has removed the pidfile",
                ));
            }
        }
        // From here on there is no way back. The new instance, which finds its pid in the file,
        // makes up for what fails.
        _ = self.pidfile.set_len(end.into());
        _ = socket.rename_from(new_socket.file_name().unwrap_or_default());
        _ = hand_over.tell_old();
        _ = hand_over.go.write_all(b"G");
        Ok(())
    }

    /// Waits for the end of the old instance, and kills it when the time is up. The next restart
    /// need not wait for that.
    ///
    /// # Errors
    /// If it did not end by itself, in words.
    pub(crate) fn see_off(self) -> Result<(), String> {
        drop(self.pidfile);
        let Some(hand_over) = self.hand_over else {
            return Ok(());
        };
        if hand_over.first_to_end == First::Restarter {
            return Ok(());
        }
        let Some(patience) = hand_over.old.patience else {
            hand_over.await_farewell();
            return Ok(());
        };
        // An old instance that could not be told of the commit sees the end of the connection.
        drop(hand_over.connection);
        hand_over.old.end_within(patience)
    }
}

impl HandOver<File> {
    /// Waits until the old instance, which lives on, has given the pidfile up: it closes the
    /// connection then.
    fn await_farewell(&self) {
        if let Ok(connection) = self.connection.get() {
            _ = until_readable(connection, Some(PATIENCE));
        }
    }

    fn tell_old(&self) -> io::Result<()> {
        let commit = match self.first_to_end {
            First::Old => word::COMMIT,
            First::Restarter => word::COMMIT_AFTER_ME,
        };
        let connection = self.connection.get()?;
        // The old instance cannot open the pidfile itself any more. It locks a byte of this one for
        // as long as it lives.
        let pidfile = SafePath::of(&self.pidfile).and_then(|pidfile| pidfile.open(OFlag::O_RDONLY));
        match &pidfile {
            Ok((pidfile, _)) => send(connection, commit, &[pidfile.as_fd()]),
            Err(_) => send(connection, commit, &[]),
        }
    }
}

/// Removes the control socket that a daemon may have left. In a restart it has another name than
/// the old instance's.
pub(crate) fn clean_up(pidfile: &Path, restart: Option<&Restarter>) {
    let ending = match restart {
        Some(restart) if restart.hands_over() => NEW_CONTROL,
        _ => CONTROL,
    };
    let path = beside(pidfile, ending);
    if let Ok(socket) = SafePath::of(&path) {
        if let Ok(()) | Err(Errno::ENOENT) = socket.remove() {
            return;
        }
    }
    // In a directory that others can write it stays. Any other failure is worth another try: no one
    // else removes it.
    pidfile::remove_beside(&path);
}
