//! No control: it needs Linux's pidfds and peer credentials, and the feature `control`.

/// Without a control socket, a restart is not possible.
pub(crate) mod handover {
    use std::io;
    use std::path::Path;

    use nix::unistd::Pid;

    use crate::error::Error;
    use crate::step::Step;

    /// Never exists.
    pub(crate) enum Restart {}

    /// Never exists.
    pub(crate) enum Restarter {}

    /// Never exists.
    pub(crate) enum New {}

    impl Restart {
        pub(crate) fn into_restarter(self) -> Restarter {
            match self {}
        }

        pub(crate) fn into_new(self) -> New {
            match self {}
        }
    }

    impl Restarter {
        pub(crate) fn hands_over(&self) -> bool {
            match *self {}
        }

        pub(crate) fn verb(&self) -> &'static str {
            match *self {}
        }

        pub(crate) fn commit(&mut self, _: Pid) -> io::Result<()> {
            match *self {}
        }

        pub(crate) fn see_off(self) -> Result<(), String> {
            match self {}
        }
    }

    impl New {
        pub(crate) fn await_commit(self) -> bool {
            match self {}
        }
    }

    pub(crate) fn bind_socket(path: &Path, _: Option<New>, _: &str) -> Result<(), Error> {
        Err(unsupported(path))
    }

    #[expect(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
    pub(crate) fn answer_calls() -> Result<Option<New>, Error> {
        Ok(None)
    }

    pub(crate) fn clean_up(_: &Path, _: Option<&Restarter>) {}

    pub(super) fn unsupported(path: &Path) -> Error {
        let error = io::Error::from(io::ErrorKind::Unsupported);
        Error::step(Step::WritePidfile, path.display().to_string(), error)
    }
}

pub(crate) mod keeper {
    use std::ops::ControlFlow;
    use std::path::Path;
    use std::time::Duration;

    use super::handover::{self, Restart};
    use crate::error::Error;

    pub(crate) fn prepare_restart(
        path: &Path,
        _: Option<Duration>,
    ) -> Result<ControlFlow<String, Option<Restart>>, Error> {
        Err(handover::unsupported(path))
    }
}
