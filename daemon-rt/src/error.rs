//! `Error`: what could not be done, on what, and why.

use std::fmt;
use std::io;
use std::path::Path;

use crate::status;
use crate::step::Step;
#[cfg(unix)]
use crate::sys::safe_open::Untrusted;

/// The beginning of the message that an instance runs.
pub(crate) const ALREADY_RUNNING: &str = "already running";

/// Why something could not be done: the step or command, the object and the source.
///
/// It reads `cannot <step in words>: <object>: <source>`. Where a call of the system is the reason,
/// [`source`](std::error::Error::source) is its [`io::Error`].
///
/// ```no_run
/// use std::time::Duration;
///
/// use daemon_rt::control::Control;
/// use daemon_rt::ErrorKind;
///
/// match Control::new("/run/greeter.pid").reload(Duration::from_secs(30)) {
///     Err(error) if error.kind() == ErrorKind::NotRunning => println!("start it first"),
///     Err(error) => eprintln!("{error}"),
///     Ok(_) => {}
/// }
/// ```
#[derive(Debug)]
pub struct Error {
    /// In a box, as the many functions that pass an error on are smaller so.
    details: Box<Details>,
}

#[derive(Debug)]
struct Details {
    kind: ErrorKind,
    /// What could not be done.
    action: Action,
    object: String,
    source: Option<io::Error>,
}

/// The kind of an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting, or a variable of the environment, is invalid.
    InvalidSetting,
    /// Another instance holds the pidfile.
    AlreadyRunning,
    /// A step of daemon(7) failed; [`Error::step_number`] says which one.
    Step,
    /// A socket could not be opened or taken over.
    Socket,
    /// The service is not running.
    NotRunning,
    /// The service is starting, and not ready yet.
    NotReady,
    /// The service did not answer, end, or become ready in time.
    TimedOut,
    /// The caller has no permission.
    PermissionDenied,
    /// Root does not trust the pidfile: another user can write it, or a directory on its path.
    Untrusted,
    /// It cannot be told whether the service is running.
    Unknown,
    /// A command failed otherwise; the source says why.
    Command,
}

#[derive(Debug)]
enum Action {
    Step(Step),
    UseSetting,
    StartSecond,
    Open,
    /// A command, by its verb.
    Command(&'static str),
}

impl Error {
    fn new(kind: ErrorKind, action: Action, object: impl Into<String>, source: io::Error) -> Self {
        let details = Details {
            kind,
            action,
            object: object.into(),
            source: Some(source),
        };
        Self {
            details: Box::new(details),
        }
    }

    pub(crate) fn step(
        step: Step,
        object: impl Into<String>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::new(ErrorKind::Step, Action::Step(step), object, source.into())
    }

    pub(crate) fn usage(object: impl Into<String>, problem: impl Into<String>) -> Self {
        let source = io::Error::other(problem.into());
        Self::new(
            ErrorKind::InvalidSetting,
            Action::UseSetting,
            object,
            source,
        )
    }

    /// A command on a service that has no pidfile.
    pub(crate) fn no_pidfile() -> Self {
        let problem = "the control commands find the service by its pidfile: set one";
        Self::usage("pidfile", problem)
    }

    pub(crate) fn opening(object: impl Into<String>, source: io::Error) -> Self {
        Self::new(ErrorKind::Socket, Action::Open, object, source)
    }

    pub(crate) fn already_running(holder: impl fmt::Display, pidfile: &Path) -> Self {
        let source = io::Error::other(holder.to_string());
        let object = pidfile.display().to_string();
        Self::new(
            ErrorKind::AlreadyRunning,
            Action::StartSecond,
            object,
            source,
        )
    }

    /// The same where this start has waited in vain for the other one to become ready.
    pub(crate) fn still_starting(holder: impl fmt::Display, pidfile: &Path) -> Self {
        let mut error = Self::already_running(holder, pidfile);
        error.details.kind = ErrorKind::NotReady;
        error
    }

    /// A command that failed, for the reason that `source` gives.
    pub(crate) fn control(object: impl Into<String>, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::TimedOut => ErrorKind::TimedOut,
            io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
            #[cfg(unix)]
            _ if Untrusted::is_in(&source) => ErrorKind::Untrusted,
            _ => ErrorKind::Command,
        };
        Self::new(kind, Action::Command("control the service"), object, source)
    }

    /// A command that the state of the service forbids.
    pub(crate) fn state(kind: ErrorKind, object: impl Into<String>, state: &str) -> Self {
        let action = Action::Command("control the service");
        Self::new(kind, action, object, io::Error::other(state))
    }

    /// A command that this system has no means for.
    #[cfg(not(unix))]
    pub(crate) fn unavailable(verb: &'static str) -> Self {
        Self::new(
            ErrorKind::Command,
            Action::Command(verb),
            "",
            not_available(),
        )
    }

    /// A setting that this system has no means for.
    #[cfg(not(unix))]
    pub(crate) fn unavailable_setting(setting: &str) -> Self {
        let action = Action::UseSetting;
        Self::new(ErrorKind::InvalidSetting, action, setting, not_available())
    }

    /// Names the command that failed.
    pub(crate) fn in_command(mut self, verb: &'static str) -> Self {
        if let Action::Command(_) = self.details.action {
            self.details.action = Action::Command(verb);
        }
        self
    }

    /// The same where a command looks for the pidfile, and none is to be written.
    #[cfg(feature = "cli")]
    pub(crate) fn in_look_up(mut self) -> Self {
        if let Action::Step(_) = self.details.action {
            self.details.kind = ErrorKind::Unknown;
            self.details.action = Action::Command("look the service up");
        }
        self
    }

    /// The kind of the error.
    ///
    /// ```
    /// use daemon_rt::{ErrorKind, Pidfile};
    ///
    /// let error = Pidfile::lock("/nowhere/greeter.pid").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Step);
    /// assert_eq!(error.step_number(), Some(12));
    /// assert_eq!(error.object(), "/nowhere/greeter.pid");
    /// assert!(error.io_error().is_some());
    /// ```
    pub fn kind(&self) -> ErrorKind {
        self.details.kind
    }

    /// The number that daemon(7) gives the step that failed, 1 to 15; `None` if no step failed.
    pub fn step_number(&self) -> Option<u8> {
        match self.details.action {
            Action::Step(step) => Some(step.number()),
            Action::StartSecond => Some(Step::WritePidfile.number()),
            Action::UseSetting | Action::Open | Action::Command(_) => None,
        }
    }

    /// The object: a path, a user, a descriptor, a setting. It can be empty.
    pub fn object(&self) -> &str {
        &self.details.object
    }

    /// The system's error behind it, if there is one.
    pub fn io_error(&self) -> Option<&io::Error> {
        self.details.source.as_ref()
    }

    /// The errno(3) of the system's error behind it, if there is one.
    pub(crate) fn errno(&self) -> Option<i32> {
        self.details
            .source
            .as_ref()
            .and_then(io::Error::raw_os_error)
    }

    /// The exit status of a start that fails with this error: see the table on the front page.
    pub fn exit_status(&self) -> u8 {
        match self.details.action {
            Action::Step(step) => status::of_step(step),
            Action::UseSetting => status::INVALID_SETTING,
            Action::StartSecond => status::ALREADY_RUNNING,
            Action::Open | Action::Command(_) => status::HOOK_FAILED,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.details.action {
            Action::Step(step) => write!(f, "cannot {}", step.words())?,
            Action::UseSetting => f.write_str("invalid setting")?,
            Action::StartSecond => f.write_str(ALREADY_RUNNING)?,
            Action::Open => f.write_str("cannot open")?,
            Action::Command(verb) => write!(f, "cannot {verb}")?,
        }
        if !self.details.object.is_empty() {
            write!(f, ": {}", self.details.object)?;
        }
        match &self.details.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source = self.details.source.as_ref()?;
        Some(source)
    }
}

/// The reason where a system has no means for something.
pub(crate) fn not_available() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "not available on this system")
}

/// Says of an operation's failure which step it was and on what.
pub(crate) trait During<T> {
    fn during(self, step: Step, object: impl fmt::Display) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, step: Step, object: impl fmt::Display) -> Result<T, Error> {
        // What fails is rare, and many places may fail: the code for it stands in one.
        match self {
            Ok(value) => Ok(value),
            Err(error) => Err(failed(step, &object, error.into())),
        }
    }
}

#[cold]
fn failed(step: Step, object: &dyn fmt::Display, error: io::Error) -> Error {
    Error::step(step, object.to_string(), error)
}

/// The reason why a start failed, as it is reported.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit status of the starter.
    pub(crate) status: u8,
    /// The kind of error, for which the program may have a status of its own. It does not cross the
    /// pipe to the starter: the status that does is final.
    pub(crate) kind: Option<ErrorKind>,
    /// The error of the system behind it, for a manager.
    pub(crate) errno: Option<i32>,
    pub(crate) text: String,
}

impl Failure {
    /// The same with the first of these statuses that is for its kind, if there is one.
    pub(crate) fn with_own_status(mut self, statuses: &[(ErrorKind, u8)]) -> Self {
        for (kind, status) in statuses {
            if self.kind == Some(*kind) {
                self.status = *status;
                break;
            }
        }
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            status: error.exit_status(),
            kind: Some(error.kind()),
            errno: error.errno(),
            text: chain(&error),
        }
    }
}

/// The kind of this library's error behind an error, if there is one.
pub(crate) fn kind_of(error: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
    let own = causes(error).find_map(|cause| cause.downcast_ref::<Error>())?;
    Some(own.kind())
}

/// An error and all its sources: so many that a chain which leads back to itself ends.
pub(crate) fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    const MOST: usize = 64;
    std::iter::successors(Some(error), |error| error.source()).take(MOST)
}

/// The number of the system's error behind an error, if there is one.
pub(crate) fn system_errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error())
}

/// The text of an error and of all its sources. Some errors print their sources themselves: what a
/// text already ends with is not repeated.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let texts: Vec<String> = causes(error)
        .map(ToString::to_string)
        .filter(|text| !text.trim().is_empty())
        .collect();
    if texts.is_empty() {
        return "(no reason given)".to_owned();
    }
    let (mut chain, mut source) = (String::new(), "");
    for text in texts.iter().rev() {
        chain = if text.ends_with(&chain) {
            text.clone()
        } else if text.ends_with(source) {
            text.to_owned() + &chain[source.len()..]
        } else {
            format!("{text}: {chain}")
        };
        source = text;
    }
    chain
}
