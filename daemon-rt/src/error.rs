//! `Error`: what could not be done, on what, and why.

use std::fmt;
use std::io;
use std::path::Path;

use crate::step::Step;

/// Why something could not be done: the step, the object and the source.
///
/// It reads `cannot <step in words>: <object>: <source>`.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    object: String,
    source: Option<io::Error>,
}

#[derive(Debug)]
enum Kind {
    /// A step of daemon(7) failed.
    Step(Step),
    /// A setting or a variable of the environment is wrong.
    Usage,
    /// A socket could not be opened, or is not what it should be.
    Opening,
    /// A service cannot be controlled.
    Control,
    /// Another instance holds the pidfile.
    AlreadyRunning,
}

/// The starter's exit status where a hook returned an error.
pub(crate) const HOOK_FAILED: u8 = 1;
/// The starter's exit status where a setting is wrong.
pub(crate) const USAGE: u8 = 2;
/// The starter's exit status where another instance runs; a failed step N is this and N.
pub(crate) const ALREADY_RUNNING: u8 = 80;

impl Error {
    pub(crate) fn step(
        step: Step,
        object: impl Into<String>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self {
            kind: Kind::Step(step),
            object: object.into(),
            source: Some(source.into()),
        }
    }

    pub(crate) fn usage(object: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            kind: Kind::Usage,
            object: object.into(),
            source: Some(io::Error::other(problem.into())),
        }
    }

    pub(crate) fn opening(object: impl Into<String>, source: io::Error) -> Self {
        Self {
            kind: Kind::Opening,
            object: object.into(),
            source: Some(source),
        }
    }

    pub(crate) fn control(object: impl Into<String>, source: io::Error) -> Self {
        Self {
            kind: Kind::Control,
            object: object.into(),
            source: Some(source),
        }
    }

    pub(crate) fn already_running(holder: impl fmt::Display, pidfile: &Path) -> Self {
        Self {
            kind: Kind::AlreadyRunning,
            object: pidfile.display().to_string(),
            source: Some(io::Error::other(holder.to_string())),
        }
    }

    /// The number that daemon(7) gives the step that failed, 1 to 15; `None` where it was none of
    /// these.
    pub fn step_number(&self) -> Option<u8> {
        match self.kind {
            Kind::Step(step) => Some(step.number()),
            Kind::AlreadyRunning => Some(Step::WritePidfile.number()),
            Kind::Usage | Kind::Opening | Kind::Control => None,
        }
    }

    /// What it was about: a path, a user, a descriptor, a setting.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// The number of the system's error, where there was one.
    pub(crate) fn errno(&self) -> Option<i32> {
        self.source.as_ref().and_then(io::Error::raw_os_error)
    }

    /// Whether another instance holds the pidfile.
    pub(crate) fn is_already_running(&self) -> bool {
        matches!(self.kind, Kind::AlreadyRunning)
    }

    /// The exit status that stands for this error.
    pub(crate) fn status(&self) -> u8 {
        match self.kind {
            Kind::Step(step) => status_of(step),
            Kind::Usage => USAGE,
            Kind::Opening | Kind::Control => HOOK_FAILED,
            Kind::AlreadyRunning => ALREADY_RUNNING,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = &self.object;
        match self.kind {
            Kind::Step(step) => write!(f, "cannot {}: {object}", step.words())?,
            Kind::Usage => write!(f, "cannot use the setting: {object}")?,
            Kind::Control => write!(f, "cannot control the service: {object}")?,
            Kind::Opening => write!(f, "cannot open: {object}")?,
            Kind::AlreadyRunning => write!(f, "already running: {object}")?,
        }
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source = self.source.as_ref()?;
        Some(source)
    }
}

/// The exit status where a step failed.
pub(crate) fn status_of(step: Step) -> u8 {
    ALREADY_RUNNING + step.number()
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
