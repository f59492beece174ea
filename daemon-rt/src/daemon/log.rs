//! `Log`: where a standard stream of the service goes.

use std::ffi::{OsStr, OsString};
use std::fs::File;
#[cfg(unix)]
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The socket at which systemd's journal takes streams.
pub(crate) const JOURNAL: &str = "/run/systemd/journal/stdout";

/// The socket of the system's log daemon.
#[cfg(any(target_os = "linux", not(unix)))]
pub(crate) const SYSLOG: &str = "/dev/log";
#[cfg(target_vendor = "apple")]
pub(crate) const SYSLOG: &str = "/var/run/syslog";
#[cfg(not(any(target_os = "linux", target_vendor = "apple", not(unix))))]
pub(crate) const SYSLOG: &str = "/var/run/log";

/// The log to which a standard stream of the detached service goes, see
/// [`Daemon::stdout`](crate::Daemon::stdout).
///
/// Text is the path of a file, but for the words `journal`, `syslog` and `keep`; a file of such a name is
/// `./journal`. A [`Path`] is the path of a file in any case.
///
/// ```
/// use std::path::{Path, PathBuf};
///
/// use daemon_rt::Log;
///
/// assert!(matches!(Log::from("journal"), Log::Journal));
/// assert!(matches!(Log::from("syslog"), Log::Syslog));
/// assert!(matches!(Log::from("keep"), Log::Keep));
/// let file = Log::from("/var/log/greeter.log");
/// assert!(matches!(file, Log::Path(path) if path == Path::new("/var/log/greeter.log")));
/// assert!(matches!(Log::from(PathBuf::from("journal")), Log::Path(_)));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Log {
    /// The log at its usual place, such as `/var/log/NAME.log`: see [`places`](crate::places()).
    Usual,
    /// The file at this path, appended to, and opened again at each reload.
    Path(PathBuf),
    /// systemd's journal, with the service's name as the identifier; [`Usual`](Self::Usual) where
    /// there is none.
    ///
    /// Each line is a message of the severity `info`, or of the one that it begins with, such as
    /// `<3>`; see sd-daemon(3). `JOURNAL_STREAM` is set, as under systemd, so that loggers find the
    /// journal.
    Journal,
    /// The system log, with the service's name and pid; [`Usual`](Self::Usual) where there is none.
    ///
    /// A process beside the service reads a pipe, and sends each line as a message of the facility
    /// `daemon` and of the severity `info`, or of the one that it begins with, such as `<3>`. It ends
    /// when the service and all that has its streams have ended.
    Syslog,
    /// What the process that was started has there: a file of its caller's, for example.
    ///
    /// While the service has its caller's pipe, whoever reads that does not see its end.
    Keep,
    /// A file, pipe or socket that the program has opened. It is not opened again at a reload, unless
    /// it is a file to append to, and was renamed.
    ///
    /// ```
    /// use std::fs::File;
    ///
    /// use daemon_rt::Daemon;
    ///
    /// # if cfg!(unix) {
    /// let log = File::options().append(true).open("/dev/null")?;
    /// Daemon::new().stdout(log.try_clone()?).stderr(log);
    /// # }
    /// # Ok::<_, std::io::Error>(())
    /// ```
    File(Arc<File>),
}

impl Log {
    /// Tells whether it is the log at its usual place.
    pub(crate) fn is_usual(&self) -> bool {
        match self {
            Self::Usual => true,
            Self::Journal => !has_journal(),
            Self::Syslog => !has_syslog(),
            _ => false,
        }
    }
}

/// Tells whether systemd's journal is there.
pub(crate) fn has_journal() -> bool {
    Path::new(JOURNAL).exists()
}

/// Tells whether there is a system log.
pub(crate) fn has_syslog() -> bool {
    Path::new(SYSLOG).exists()
}

impl From<&str> for Log {
    fn from(text: &str) -> Self {
        match text {
            "journal" => Self::Journal,
            "syslog" => Self::Syslog,
            "keep" => Self::Keep,
            path => Self::Path(path.into()),
        }
    }
}

impl From<String> for Log {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<&String> for Log {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<PathBuf> for Log {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl From<&PathBuf> for Log {
    fn from(path: &PathBuf) -> Self {
        Self::Path(path.clone())
    }
}

impl From<&Path> for Log {
    fn from(path: &Path) -> Self {
        Self::Path(path.to_owned())
    }
}

impl From<OsString> for Log {
    fn from(path: OsString) -> Self {
        Self::Path(path.into())
    }
}

impl From<&OsStr> for Log {
    fn from(path: &OsStr) -> Self {
        Self::Path(path.into())
    }
}

impl From<File> for Log {
    fn from(file: File) -> Self {
        Self::File(Arc::new(file))
    }
}

#[cfg(unix)]
impl From<OwnedFd> for Log {
    fn from(file: OwnedFd) -> Self {
        File::from(file).into()
    }
}
