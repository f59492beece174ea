//! The types of the settings.

use std::time::Duration;

use crate::names::MODES;

/// Whether the service detaches from what started it.
///
/// Its text is that of the attribute's argument `mode`:
///
/// ```
/// use daemon_rt::Mode;
///
/// assert_eq!("foreground".parse(), Ok(Mode::Foreground));
/// assert_eq!(Mode::Detach.to_string(), "detach");
/// assert!("background".parse::<Mode>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// In the foreground where something supervises this very process, detached otherwise.
    #[default]
    Auto,
    /// The traditional daemon of daemon(7).
    Detach,
    /// In the foreground: the same hooks, pidfile, privileges and statuses, without detaching.
    Foreground,
}

impl Mode {
    const ALL: [Self; MODES.len()] = [Self::Auto, Self::Detach, Self::Foreground];
}

/// The error of a text that is not the name of a [`Mode`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseModeError(());

impl std::str::FromStr for Mode {
    type Err = ParseModeError;

    fn from_str(text: &str) -> Result<Self, ParseModeError> {
        match MODES.iter().position(|(name, _)| *name == text) {
            Some(at) => Ok(Self::ALL[at]),
            None => Err(ParseModeError(())),
        }
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, _) = MODES[*self as usize];
        f.pad(name)
    }
}

impl std::fmt::Display for ParseModeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = MODES.map(|(name, _)| name).join(", ");
        write!(f, "a mode must be one of {names}")
    }
}

impl std::error::Error for ParseModeError {}

/// A start that finds the service running, or starting.
///
/// In the foreground it fails in any case: a manager must not take it for the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AlreadyRunning {
    /// It fails, with status 80 and a message.
    #[default]
    Fail,
    /// It waits until the other instance is ready, and ends with status 0. If
    /// that instance fails, this start tries itself. It waits for three others at most, and for
    /// `start_timeout`.
    Wait,
}

/// A property of the process, which its caller has, too.
#[derive(Clone, Debug, Default)]
pub(crate) enum Property<T> {
    /// As daemon(7) has it.
    #[default]
    Usual,
    /// The caller's.
    Keep,
    Set(T),
}

/// A user or group, by name or by number.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameOrId {
    /// A name; one of digits only that nobody bears is taken as a number.
    Name(String),
    /// A number, with or without an entry in the system's database.
    Id(u32),
}

impl From<&str> for NameOrId {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<String> for NameOrId {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

impl From<u32> for NameOrId {
    fn from(id: u32) -> Self {
        Self::Id(id)
    }
}

impl std::fmt::Display for NameOrId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Id(id) => write!(f, "{id}"),
        }
    }
}

/// How a start replaces the instance that runs.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(feature = "control"),
    allow(dead_code, reason = "it needs a control socket")
)]
pub(crate) enum Replacement {
    /// That one ends, within this time, or the one that is usual for the service.
    Restart(Option<Duration>),
    /// That one lives on.
    Upgrade,
}
