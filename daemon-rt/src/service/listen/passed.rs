//! The descriptors that came with the start, and which of them is meant.

use std::fmt::Write;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::address::Local;
use super::kind::Kind;
use crate::error::Error;
use crate::manager::activation::{self, PassedFd, UNNAMED};
use crate::sys::kept::Kept;

static PASSED: Mutex<Passed> = Mutex::new(Passed {
    came: Vec::new(),
    problem: None,
    moved: Vec::new(),
    opened: Vec::new(),
});

/// What came with the start.
pub(super) struct Passed {
    pub(super) came: Vec<Came>,
    /// What is wrong with the variables that speak of it.
    pub(super) problem: Option<String>,
    /// Sockets that were opened although the older instance has one of that name: the name, and
    /// where.
    pub(super) moved: Vec<(String, String)>,
    /// Where the service has asked for sockets that were opened.
    pub(super) opened: Vec<Local>,
}

/// A descriptor that came.
pub(super) struct Came {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) local: Local,
    pub(super) origin: Origin,
    pub(super) state: State,
}

pub(super) enum State {
    Here(Kept),
    Taken,
    /// No one had taken it when the service was ready.
    Closed,
}

/// Who has opened a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The manager, who decides where the service listens. In a restart it has come by way of the
    /// older instance.
    Manager,
    /// An older instance, where its configuration said.
    Service,
}

/// What a service asks for.
pub(super) struct Asked<'a> {
    pub(super) name: &'a str,
    pub(super) kind: Kind,
    /// Where, if the service says.
    pub(super) places: Option<&'a [Local]>,
}

pub(super) fn passed() -> MutexGuard<'static, Passed> {
    PASSED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes what came from the manager, if anything did.
pub(crate) fn pass_from_manager(passed_fds: activation::Passed) {
    match passed_fds {
        Ok(fds) => pass(fds.into_iter().map(|fd| (Origin::Manager, fd))),
        Err(problem) => passed().problem = Some(problem),
    }
}

/// Notes what came.
pub(crate) fn pass(fds: impl IntoIterator<Item = (Origin, PassedFd)>) {
    let mut came = Vec::new();
    let mut problem = None;
    for (origin, fd) in fds {
        let name = fd.name.clone();
        match look_at(origin, fd) {
            Ok(one) => came.push(one),
            Err(error) => problem = Some(format!("{name} cannot be looked at: {error}")),
        }
    }
    let mut passed = passed();
    passed.came = came;
    passed.problem = problem;
}

fn look_at(origin: Origin, PassedFd { name, fd }: PassedFd) -> io::Result<Came> {
    let (kind, local) = (Kind::of(fd.as_fd())?, Local::of(fd.as_fd())?);
    Ok(Came {
        name,
        kind,
        local,
        origin,
        state: State::Here(Kept::new(fd)?),
    })
}

impl Came {
    pub(super) fn is_left(&self) -> bool {
        !matches!(self.state, State::Taken)
    }

    /// systemd names what has no `FileDescriptorName=` after its socket unit.
    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.name.strip_suffix(".socket") == Some(name)
    }

    fn is_unnamed(&self) -> bool {
        self.origin == Origin::Manager && (self.name == UNNAMED || self.name.ends_with(".socket"))
    }

    fn is_where(&self, asked: &Asked<'_>) -> bool {
        asked
            .places
            .is_some_and(|places| places.iter().any(|place| self.local.meets(place)))
            && (self.origin == Origin::Manager || self.local.is_reachable())
    }

    /// For messages.
    pub(super) fn describe(&self) -> String {
        match &self.local {
            Local::None => format!("{} ({})", self.name, self.kind),
            local => format!("{} ({} at {local})", self.name, self.kind),
        }
    }
}

impl Passed {
    /// Fails where it cannot be told what came.
    pub(super) fn checked(&self) -> Result<(), Error> {
        match &self.problem {
            Some(problem) => Err(Error::opening(
                "the sockets that were passed",
                io::Error::other(problem.clone()),
            )),
            None => Ok(()),
        }
    }

    /// The one that is asked for, by its place in the list. `None` if it did not come: then it is
    /// to be opened.
    pub(super) fn find(&self, asked: &Asked<'_>) -> Result<Option<usize>, Error> {
        self.checked()?;
        let among = |suits: &dyn Fn(&Came) -> bool| -> Vec<usize> {
            (0..self.came.len())
                .filter(|&at| suits(&self.came[at]))
                .collect()
        };
        let left = |found: &[usize]| found.iter().copied().find(|&at| self.came[at].is_left());

        let named = among(&|came| came.is_called(asked.name));
        let there = among(&|came| {
            came.is_called(asked.name) && came.kind == asked.kind && came.is_where(asked)
        });
        if let Some(found) = left(&there) {
            return Ok(Some(found));
        }
        // Where the manager has opened it is the manager's to say. Of what an older instance has
        // opened the address counts, if there is one: the configuration may have changed.
        let by_name = |came: &Came| {
            came.is_called(asked.name)
                && (came.origin == Origin::Manager
                    || (asked.places.is_none() && came.kind == asked.kind))
        };
        if let Some(found) = self.only(&among(&by_name), asked)? {
            return Ok(Some(found));
        }
        // Under another name, but where no other socket can be opened.
        let there =
            among(&|came| came.is_left() && came.kind == asked.kind && came.is_where(asked));
        match (&there[..], &named[..]) {
            (&[found], _) => Ok(Some(found)),
            ([], []) => self.only(&among(&Came::is_unnamed), asked),
            ([], _) => Ok(None),
            _ => Err(self.ambiguous(asked)),
        }
    }

    /// The only one of these, or the only one of its kind; `None` if that has been taken.
    fn only(&self, found: &[usize], asked: &Asked<'_>) -> Result<Option<usize>, Error> {
        let of_kind: Vec<usize> = found
            .iter()
            .copied()
            .filter(|&at| self.came[at].kind == asked.kind)
            .collect();
        let only = match (found, &of_kind[..]) {
            (&[only], _) | (_, &[only]) => only,
            _ if found.iter().any(|&at| self.came[at].is_left()) => {
                return Err(self.ambiguous(asked));
            }
            _ => return Ok(None),
        };
        Ok(self.came[only].is_left().then_some(only))
    }

    /// Says why an address is in use, if the older instance is the reason, whose own one overlaps
    /// it, or the service.
    pub(super) fn explain(&self, error: io::Error, places: &[Local]) -> io::Error {
        if error.kind() != io::ErrorKind::AddrInUse {
            return error;
        }
        let in_the_way = |came: &&Came| {
            came.is_left()
                && places
                    .iter()
                    .any(|place| place.port().is_some() && place.port() == came.local.port())
        };
        let taken = |place| {
            self.came
                .iter()
                .any(|came| !came.is_left() && came.local.meets(place))
        };
        let why = if let Some(came) = self.came.iter().find(in_the_way) {
            format!(
                "the running instance listens at {}; use stop and start",
                came.local
            )
        } else if let Some(place) = places
            .iter()
            .find(|place| self.opened.contains(place) || taken(place))
        {
            format!("this service has taken a socket at {place} already")
        } else {
            return error;
        };
        io::Error::new(error.kind(), format!("{error}: {why}"))
    }

    fn ambiguous(&self, asked: &Asked<'_>) -> Error {
        let mut text = format!(
            "{} is asked for, and it cannot be told which of these it is: ",
            asked.kind
        );
        for (number, came) in self.came.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            _ = write!(text, "{comma}{}", came.describe());
        }
        text.push_str(
            "; give each a name of its own (FileDescriptorName= of a systemd socket unit)",
        );
        Error::opening(asked.describe(), io::Error::other(text))
    }
}

impl Asked<'_> {
    /// For messages.
    pub(super) fn describe(&self) -> String {
        match self.places {
            Some([place, ..]) => format!("the socket {} ({place})", self.name),
            _ => format!("the socket {}", self.name),
        }
    }
}
