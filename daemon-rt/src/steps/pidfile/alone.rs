//! A pidfile without a daemon.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{self, Path};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::unistd::{Pid, getpid};

use super::held::Held;
use super::holder::{Holder, Phase};
use super::lock::{self, Missing};
use super::marks;
use super::others::{Others, Policy};
use super::own;
use crate::error::{During, Error};
use crate::step::Step;
use crate::sys::safe_open::{SafePath, same_file};
use crate::sys::stat::FileStat;

/// Every [`Pidfile`] of this process. Each is opened once: to close another descriptor of the file
/// would drop the lock that says that this process lives.
static ALL: Mutex<Vec<FileStat>> = Mutex::new(Vec::new());

/// A pidfile without a daemon: for a library, a server within another program, a test.
///
/// It is the same file, with the same lock and the same truth, as a daemon's. As long as the value
/// lives, no daemon and no other `Pidfile` gets it, and [`control`](crate::control) says that this
/// process runs, and is ready.
///
/// The file names this process, and is removed when the value is dropped. If the process ends
/// without that, the file stays, and is in no one's way: only the lock counts, which ends with the
/// process. A process can hold several. It does not pass them on to a child that it forks, a daemon
/// included: lock one in `init` or later.
///
/// ```no_run
/// use daemon_rt::Pidfile;
///
/// let pidfile = Pidfile::lock("/run/importer.pid")?;
/// // One importer works here.
/// drop(pidfile);
/// # Ok::<(), daemon_rt::Error>(())
/// ```
#[must_use = "it is unlocked when it is dropped"]
pub struct Pidfile {
    held: Held,
    process: Pid,
}

impl Pidfile {
    /// Creates the file, unless it is there, locks it, and writes the pid of this process into it.
    /// Does not wait for another holder. Relative paths count from the current directory.
    ///
    /// ```no_run
    /// use daemon_rt::{ErrorKind, Pidfile};
    ///
    /// match Pidfile::lock("importer.pid") {
    ///     Ok(pidfile) => println!("locked: {}", pidfile.path().display()),
    ///     Err(error) if error.kind() == ErrorKind::AlreadyRunning => println!("{error}"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok::<_, daemon_rt::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyRunning`](crate::ErrorKind::AlreadyRunning) if it is held, also by this
    /// process; if the file cannot be created or written; if this process is root's and another
    /// user can change a directory on the way to it.
    pub fn lock(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let object = || path.display();
        let path = path::absolute(path).during(Step::WritePidfile, object())?;
        let place = SafePath::of(&path).during(Step::WritePidfile, object())?;
        let mut all = all();
        if let Ok(found) = place.stat() {
            if own::is_held_by_start(&found) || is_in(&all, &found) {
                let this = Holder::Main(getpid(), Phase::Ready);
                return Err(Error::already_running(this, &path));
            }
        }
        let others = Others::new(Policy::Fail, None);
        match lock::take(&path, &place, Missing::CreateAmongThreads, &others)
            .during(Step::WritePidfile, object())?
        {
            Ok(Some((held, writer))) => {
                all.push(held.file);
                drop(all);
                let process = getpid();
                let pidfile = Self { held, process };
                pidfile.publish(writer)?;
                Ok(pidfile)
            }
            Ok(None) => unreachable!("it was to be created"),
            Err(holder) => Err(Error::already_running(holder, &path)),
        }
    }

    /// Shows others that this process holds it.
    fn publish(&self, writer: OwnedFd) -> Result<(), Error> {
        let held = &self.held;
        held.write_pid(&writer)
            .during(Step::WritePidfile, self.path().display())?;
        drop(writer);
        marks::set_process(held.lock.as_fd());
        marks::set_ready(held.lock.as_fd()).during(Step::WritePidfile, self.path().display())
    }

    /// The path, which is absolute.
    ///
    /// ```no_run
    /// use daemon_rt::Pidfile;
    ///
    /// let pidfile = Pidfile::lock("importer.pid")?;
    /// assert!(pidfile.path().is_absolute());
    /// # Ok::<_, daemon_rt::Error>(())
    /// ```
    pub fn path(&self) -> &Path {
        self.held.path.as_path()
    }
}

impl fmt::Debug for Pidfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pidfile").field(&self.path()).finish()
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        // A forked child does not hold it, and another thread may have locked the list at the fork.
        if self.process != getpid() {
            return;
        }
        let mut all = all();
        self.held.remove();
        all.retain(|file| !same_file(file, &self.held.file));
    }
}

/// Checks whether this process is the one that holds this pidfile, with a daemon or without.
#[cfg(all(feature = "control", target_os = "linux"))]
pub(crate) fn is_held_here(file: &FileStat) -> bool {
    own::is_held_by_start(file) || is_in(&all(), file)
}

fn is_in(all: &[FileStat], file: &FileStat) -> bool {
    all.iter().any(|one| same_file(one, file))
}

fn all() -> MutexGuard<'static, Vec<FileStat>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}
