//! A hand-over that is under way.

use std::fs::File;
use std::path::PathBuf;

use super::ending::Old;
use crate::sys::kept::Kept;

/// A hand-over that is not committed yet. Before the fork `G` is [`Go`], then each side's end of
/// it. It is boxed: every start has room for one.
pub(super) struct HandOver<G> {
    pub(super) pidfile: PathBuf,
    /// To the old instance.
    pub(super) connection: Kept,
    pub(super) old: Old,
    pub(super) first_to_end: First,
    pub(super) go: G,
}

/// The pipe by which the new instance hears of the commit.
pub(super) struct Go {
    pub(super) restarters: File,
    pub(super) news: Kept,
}

/// The process that has to end before the other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    Old,
    Restarter,
}

impl HandOver<Go> {
    pub(super) fn into_restarters(self) -> HandOver<File> {
        self.with(|go| go.restarters)
    }

    pub(super) fn into_news(self) -> HandOver<Kept> {
        self.with(|go| go.news)
    }

    fn with<G>(self, end: impl FnOnce(Go) -> G) -> HandOver<G> {
        HandOver {
            pidfile: self.pidfile,
            connection: self.connection,
            old: self.old,
            first_to_end: self.first_to_end,
            go: end(self.go),
        }
    }
}
