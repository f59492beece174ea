//! The table of the sockets that were passed to this process, and the look-up of the one that is
//! asked for.

use std::fmt::Write;
use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::kind::Kind;
use super::local_addr::LocalAddr;
use crate::error::Error;
use crate::manager::activation::{self, PassedFd, UNNAMED};
use crate::sys::kept::Kept;

/// Of a socket unit's name.
const SUFFIX: &str = ".socket";

/// Empty where nothing was passed and nothing was asked for: a daemon would have to copy the page of
/// a mutex that it locks.
static TABLE: OnceLock<Mutex<Table>> = OnceLock::new();

/// The descriptors that were passed.
#[derive(Default)]
pub(super) struct Table {
    pub(super) entries: Vec<Entry>,
    /// Their indices, sorted by name, those of one name in their order: of a thousand sockets each is
    /// found without a look at the others.
    by_name: Vec<usize>,
    /// The first that has not been taken, as far as is known. Services take them in their order.
    first: usize,
    /// The reason why it is not known what was passed.
    problem: Option<String>,
    /// The sockets that were opened although the older instance has one of that name: name and
    /// address.
    pub(super) moved: Vec<(String, String)>,
    /// The addresses of the sockets that were opened, as the service asked for them.
    pub(super) opened: Vec<LocalAddr>,
}

/// A descriptor that was passed.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) local: LocalAddr,
    pub(super) origin: Origin,
    pub(super) state: State,
}

pub(super) enum State {
    Open(Kept),
    Taken,
    /// It had not been taken when the service became ready.
    Closed,
}

/// The opener of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The manager, which decides where the service listens. In a restart it comes through the
    /// older instance.
    Manager,
    /// An older instance, at an address of its own configuration.
    Service,
}

/// The socket that the service asks for.
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) kind: Kind,
    /// The addresses, if the service says any. One of them is enough.
    pub(super) addresses: Option<&'a [LocalAddr]>,
}

pub(super) fn table() -> MutexGuard<'static, Table> {
    let table = TABLE.get_or_init(Mutex::default);
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn is_unused() -> bool {
    TABLE.get().is_none()
}

/// Notes the descriptors that the manager has passed.
pub(crate) fn pass_from_manager(passed: activation::Passed) {
    match passed {
        Ok(fds) => pass(fds.into_iter().map(|fd| (Origin::Manager, fd))),
        Err(problem) => table().problem = Some(problem),
    }
}

/// Notes the descriptors that were passed.
pub(crate) fn pass(fds: impl IntoIterator<Item = (Origin, PassedFd)>) {
    let mut entries = Vec::new();
    let mut problem = None;
    for (origin, fd) in fds {
        let name = fd.name.clone();
        match Entry::new(origin, fd) {
            Ok(entry) => entries.push(entry),
            Err(error) => problem = Some(format!("cannot examine {name}: {error}")),
        }
    }
    if entries.is_empty() && problem.is_none() {
        return;
    }
    let mut table = table();
    table.set(entries);
    table.problem = problem;
}

impl Entry {
    fn new(origin: Origin, PassedFd { name, fd }: PassedFd) -> io::Result<Self> {
        let (kind, local) = (Kind::of(fd.as_fd())?, LocalAddr::of(fd.as_fd())?);
        let state = State::Open(Kept::new(fd)?);
        Ok(Self {
            name,
            kind,
            local,
            origin,
            state,
        })
    }

    /// Takes the descriptor out; `None` if it was taken or closed before.
    pub(super) fn take_fd(&mut self, next: State) -> Option<Kept> {
        match mem::replace(&mut self.state, next) {
            State::Open(fd) => Some(fd),
            before => {
                self.state = before;
                None
            }
        }
    }

    pub(super) fn is_untaken(&self) -> bool {
        !matches!(self.state, State::Taken)
    }

    /// Whether it has this name. Without `FileDescriptorName=`, systemd names it after its socket
    /// unit.
    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.name.strip_suffix(SUFFIX) == Some(name)
    }

    fn is_unnamed(&self) -> bool {
        self.origin == Origin::Manager && (self.name == UNNAMED || self.name.ends_with(SUFFIX))
    }

    fn is_at(&self, wanted: &Wanted<'_>) -> bool {
        let Some(addresses) = wanted.addresses else {
            return false;
        };
        addresses.iter().any(|address| self.local.is_at(address))
            && (self.origin == Origin::Manager || self.local.is_reachable())
    }

    /// Whether it keeps a new socket from one of these addresses.
    fn is_in_the_way(&self, addresses: &[LocalAddr]) -> bool {
        let Some(port) = self.local.port() else {
            return false;
        };
        self.is_untaken() && addresses.iter().any(|address| address.port() == Some(port))
    }

    /// For messages.
    pub(super) fn describe(&self) -> String {
        match &self.local {
            LocalAddr::None => format!("{} ({})", self.name, self.kind),
            local => format!("{} ({} at {local})", self.name, self.kind),
        }
    }
}

impl Table {
    fn set(&mut self, entries: Vec<Entry>) {
        self.entries = entries;
        self.by_name = (0..self.entries.len()).collect();
        self.by_name
            .sort_unstable_by_key(|&index| (stem(&self.entries[index].name), index));
        self.first = 0;
    }

    /// Gives an entry the name by which it is taken.
    pub(super) fn rename(&mut self, index: usize, name: &str) {
        let before = self.place(&self.entries[index].name, index);
        self.by_name.remove(before);
        name.clone_into(&mut self.entries[index].name);
        self.by_name.insert(self.place(name, index), index);
    }

    /// Returns the place in `by_name` of an entry of this name, or where it would be.
    fn place(&self, name: &str, index: usize) -> usize {
        let sought = (stem(name), index);
        self.by_name
            .partition_point(|&index| (stem(&self.entries[index].name), index) < sought)
    }

    /// Fails if it is not known what was passed.
    pub(super) fn check(&self) -> Result<(), Error> {
        match &self.problem {
            Some(problem) => Err(Error::opening(
                "the sockets that were passed",
                io::Error::other(problem.clone()),
            )),
            None => Ok(()),
        }
    }

    /// Returns the index of the socket that is asked for; `None` if it was not passed, and has to
    /// be opened.
    pub(super) fn find(&mut self, wanted: &Wanted<'_>) -> Result<Option<usize>, Error> {
        self.check()?;
        let is_same = |entry: &Entry| entry.kind == wanted.kind && entry.is_at(wanted);

        while matches!(self.entries.get(self.first), Some(entry) if !entry.is_untaken()) {
            self.first += 1;
        }
        for index in self.called(wanted.name, self.first) {
            let entry = &self.entries[index];
            if entry.is_untaken() && is_same(entry) {
                return Ok(Some(index));
            }
        }
        // The address of a manager's socket is the manager's decision. That of an older instance's
        // counts, if there is one: the configuration may have changed.
        let mut by_name = Vec::new();
        for index in self.called(wanted.name, 0) {
            let entry = &self.entries[index];
            if entry.origin == Origin::Manager
                || (wanted.addresses.is_none() && entry.kind == wanted.kind)
            {
                by_name.push(index);
            }
        }
        if let Some(index) = self.only(&by_name, wanted)? {
            return Ok(Some(index));
        }
        // Under another name: no second socket can be opened at that address.
        match self.all(|entry| entry.is_untaken() && is_same(entry))[..] {
            [index] => Ok(Some(index)),
            [] if self.called(wanted.name, 0).next().is_none() => {
                self.only(&self.all(Entry::is_unnamed), wanted)
            }
            [] => Ok(None),
            _ => Err(self.ambiguous(wanted)),
        }
    }

    /// Returns the indices of the entries of this name, from this index on.
    pub(super) fn called(&self, name: &str, from: usize) -> impl Iterator<Item = usize> {
        let named = &self.by_name[self.place(name, from)..];
        let entry = |index: &&usize| &self.entries[**index];
        named
            .iter()
            .take_while(move |index| stem(&entry(index).name) == stem(name))
            .filter(move |index| entry(index).is_called(name))
            .copied()
    }

    /// Returns the indices of the entries that suit.
    fn all(&self, suits: impl Fn(&Entry) -> bool) -> Vec<usize> {
        let mut found = Vec::new();
        for (index, entry) in self.entries.iter().enumerate() {
            if suits(entry) {
                found.push(index);
            }
        }
        found
    }

    /// Returns the only one of these, or the only one of the wanted kind; `None` if that has been
    /// taken.
    fn only(&self, found: &[usize], wanted: &Wanted<'_>) -> Result<Option<usize>, Error> {
        let mut of_kind = found.to_vec();
        of_kind.retain(|&index| self.entries[index].kind == wanted.kind);
        let is_untaken = |&index: &usize| self.entries[index].is_untaken();
        let only = match (found, &of_kind[..]) {
            (&[only], _) | (_, &[only]) => only,
            _ if found.iter().any(is_untaken) => return Err(self.ambiguous(wanted)),
            _ => return Ok(None),
        };
        if is_untaken(&only) {
            Ok(Some(only))
        } else {
            Ok(None)
        }
    }

    /// Adds to "address in use" that the older instance has a socket there, or this service itself.
    pub(super) fn explain(&self, error: io::Error, addresses: &[LocalAddr]) -> io::Error {
        if error.kind() != io::ErrorKind::AddrInUse {
            return error;
        }
        let in_the_way = |entry: &&Entry| entry.is_in_the_way(addresses);
        let reason = if let Some(entry) = self.entries.iter().find(in_the_way) {
            let local = &entry.local;
            format!("the running instance listens at {local}; use stop and start")
        } else if let Some(address) = addresses.iter().find(|address| self.has_taken(address)) {
            format!("this service has taken a socket at {address} already")
        } else {
            return error;
        };
        io::Error::new(error.kind(), format!("{error}: {reason}"))
    }

    fn has_taken(&self, address: &LocalAddr) -> bool {
        let is_taken = |entry: &Entry| !entry.is_untaken() && entry.local.is_at(address);
        self.opened.contains(address) || self.entries.iter().any(is_taken)
    }

    fn ambiguous(&self, wanted: &Wanted<'_>) -> Error {
        let mut text = format!("{} is wanted, and several could be meant: ", wanted.kind);
        for (number, entry) in self.entries.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            _ = write!(text, "{comma}{}", entry.describe());
        }
        text.push_str(
            "; give each a name of its own (FileDescriptorName= of a systemd socket unit)",
        );
        Error::opening(wanted.describe(), io::Error::other(text))
    }
}

/// Returns the name without the suffix of a socket unit.
fn stem(name: &str) -> &str {
    match name.strip_suffix(SUFFIX) {
        Some(stem) => stem,
        None => name,
    }
}

impl Wanted<'_> {
    /// For messages.
    pub(super) fn describe(&self) -> String {
        match self.addresses {
            Some([address, ..]) => format!("the socket {} ({address})", self.name),
            _ => format!("the socket {}", self.name),
        }
    }
}
