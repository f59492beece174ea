//! The error of a start that another program has asked for.

use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitStatus;

/// The error of [`Control::launch`](super::Control::launch): what the starter has printed, and how it has ended.
///
/// It reads as the starter's text, without the name of the program in front.
#[derive(Debug)]
pub struct StartError {
    status: Option<ExitStatus>,
    message: String,
    source: Option<io::Error>,
}

impl StartError {
    /// The exit status of the starter, see the table on the [front page](crate). `None` if it could
    /// not be executed, or another part of this program has waited for it.
    pub fn status(&self) -> Option<ExitStatus> {
        self.status
    }

    /// The starter's own text, or the reason why there is none.
    ///
    /// ```no_run
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// use daemon_rt::control::Control;
    ///
    /// let agent = Control::new("/run/user/1000/agent.pid");
    /// let mut command = Command::new("/usr/bin/agent");
    /// if let Err(error) = agent.launch(&mut command, Duration::from_secs(10)) {
    ///     eprintln!("the agent does not start: {} ({:?})", error.message(), error.status());
    /// }
    /// ```
    pub fn message(&self) -> &str {
        &self.message
    }

    #[cfg(unix)]
    pub(super) fn new(status: Option<ExitStatus>, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            source: None,
        }
    }

    /// The system refuses this.
    pub(super) fn system(what: impl fmt::Display, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        Self {
            status: None,
            message: format!("{what}: {source}"),
            source: Some(source),
        }
    }

    /// The start has taken too long.
    #[cfg(unix)]
    pub(super) fn timed_out(status: Option<ExitStatus>, message: String) -> Self {
        Self {
            source: Some(io::ErrorKind::TimedOut.into()),
            ..Self::new(status, message)
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.source.as_ref()?;
        Some(source)
    }
}
