//! Descriptors that safe calls give without `FD_CLOEXEC`, each with an owner.

use std::fs::{File, read_link};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::fcntl::OFlag;
use nix::sys::epoll::{Epoll, EpollCreateFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{InitFlags, Inotify};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signalfd::{SfdFlags, SigSet, SignalFd};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket, socketpair};
use nix::sys::stat::Mode;
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::fs::{MemfdFlags, inotify};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::net::SocketFlags;
use rustix::pty::OpenptFlags;
use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
use socket2::{Domain, Socket, Type};

use crate::Result;

static OWNED: OnceLock<Vec<Owned>> = OnceLock::new();

struct Owned {
    call: &'static str,
    fd: Box<dyn AsFd + Send + Sync>,
    file: (libc::dev_t, libc::ino_t),
    link: PathBuf,
}

impl Owned {
    fn new(call: &'static str, fd: impl AsFd + Send + Sync + 'static) -> Result<Self> {
        let (file, link) = found(&fd)?;
        Ok(Self {
            call,
            fd: Box::new(fd),
            file,
            link,
        })
    }

    /// Fails unless it is what it was, and exec(2) would still not close it.
    fn check(&self) -> Result<()> {
        let same = found(&self.fd).is_ok_and(|found| found == (self.file, self.link.clone()));
        if same && fcntl_getfd(&self.fd)?.is_empty() {
            return Ok(());
        }
        Err(format!("{} is not what it was", self.call).into())
    }
}

/// The file that a descriptor leads to.
fn found(fd: &impl AsFd) -> Result<((libc::dev_t, libc::ino_t), PathBuf)> {
    let fd = fd.as_fd();
    let file = nix::sys::stat::fstat(fd)?;
    let link = read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    Ok(((file.st_dev, file.st_ino), link))
}

/// Opens a descriptor by each of the calls.
pub(crate) fn open(directory: &Path) -> Result<()> {
    let mut owned = Vec::new();
    of_nix(&mut owned)?;
    of_rustix(&mut owned)?;
    of_socket2(&mut owned)?;
    let file = File::create(directory.join("owned"))?;
    fcntl_setfd(&file, FdFlags::empty())?;
    owned.push(Owned::new("rustix::io::fcntl_setfd", file)?);
    owned.iter().try_for_each(Owned::check)?;
    assert!(owned.len() > 20);
    OWNED.set(owned).map_err(|_| "they are open already".into())
}

fn of_nix(owned: &mut Vec<Owned>) -> Result<()> {
    let null = nix::fcntl::open("/dev/null", OFlag::O_RDONLY, Mode::empty())?;
    let (read, write) = nix::unistd::pipe()?;
    let terminal = nix::pty::openpty(None, None)?;
    let (one, other) = socketpair(
        AddressFamily::Unix,
        SockType::Stream,
        None,
        SockFlag::empty(),
    )?;
    let socket = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::empty(),
        None,
    )?;
    owned.push(Owned::new("nix::unistd::dup", nix::unistd::dup(&null)?)?);
    owned.push(Owned::new("nix::fcntl::open", null)?);
    owned.push(Owned::new("nix::unistd::pipe", read)?);
    owned.push(Owned::new("nix::unistd::pipe", write)?);
    owned.push(Owned::new("nix::pty::openpty", terminal.master)?);
    owned.push(Owned::new("nix::pty::openpty", terminal.slave)?);
    owned.push(Owned::new("nix::socketpair", one)?);
    owned.push(Owned::new("nix::socketpair", other)?);
    owned.push(Owned::new("nix::socket", socket)?);
    owned.push(Owned::new(
        "nix::memfd_create",
        memfd_create("owned", MFdFlags::empty())?,
    )?);
    let eventfd = EventFd::from_value_and_flags(0, EfdFlags::empty())?;
    owned.push(Owned::new("nix::EventFd", eventfd)?);
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    owned.push(Owned::new("nix::Epoll", epoll.0)?);
    owned.push(Owned::new(
        "nix::Inotify",
        OwnedFd::from(Inotify::init(InitFlags::empty())?),
    )?);
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::empty())?;
    owned.push(Owned::new("nix::TimerFd", timer)?);
    let signals = SignalFd::with_flags(&SigSet::empty(), SfdFlags::empty())?;
    owned.push(Owned::new("nix::SignalFd", signals)?);
    Ok(())
}

fn of_rustix(owned: &mut Vec<Owned>) -> Result<()> {
    use rustix::net::{AddressFamily, SocketType, socket_with, socketpair};

    let (read, write) = rustix::pipe::pipe()?;
    let (one, other) = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::empty(),
        None,
    )?;
    owned.push(Owned::new("rustix::io::dup", rustix::io::dup(&read)?)?);
    owned.push(Owned::new("rustix::pipe", read)?);
    owned.push(Owned::new("rustix::pipe", write)?);
    owned.push(Owned::new("rustix::socketpair", one)?);
    owned.push(Owned::new("rustix::socketpair", other)?);
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::empty(),
        None,
    )?;
    owned.push(Owned::new("rustix::socket_with", socket)?);
    let memory = rustix::fs::memfd_create("owned", MemfdFlags::empty())?;
    owned.push(Owned::new("rustix::memfd_create", memory)?);
    owned.push(Owned::new(
        "rustix::eventfd",
        eventfd(0, EventfdFlags::empty())?,
    )?);
    let epoll = epoll::create(epoll::CreateFlags::empty())?;
    owned.push(Owned::new("rustix::epoll", epoll)?);
    let inotify = inotify::init(inotify::CreateFlags::empty())?;
    owned.push(Owned::new("rustix::inotify", inotify)?);
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::empty())?;
    owned.push(Owned::new("rustix::timerfd_create", timer)?);
    let terminal = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    owned.push(Owned::new("rustix::pty::openpt", terminal)?);
    let directory = rustix::fs::open("/", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty())?;
    owned.push(Owned::new("rustix::fs::open of a path", directory)?);
    Ok(())
}

fn of_socket2(owned: &mut Vec<Owned>) -> Result<()> {
    let raw = Socket::new_raw(Domain::IPV4, Type::STREAM, None)?;
    let (one, other) = Socket::pair_raw(Domain::UNIX, Type::STREAM, None)?;
    let kept = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    kept.set_cloexec(false)?;
    owned.push(Owned::new("socket2::Socket::new_raw", raw)?);
    owned.push(Owned::new("socket2::Socket::pair_raw", one)?);
    owned.push(Owned::new("socket2::Socket::pair_raw", other)?);
    owned.push(Owned::new("socket2::Socket::set_cloexec", kept)?);
    Ok(())
}

/// Fails unless all that was opened is still there, and writes to the file among them.
pub(crate) fn check() -> Result<()> {
    let owned = OWNED.get().ok_or("nothing was opened")?;
    owned.iter().try_for_each(Owned::check)?;
    let last = owned.last().ok_or("nothing was opened")?;
    let mut file = File::from(last.fd.as_fd().try_clone_to_owned()?);
    writeln!(file, "{} descriptors", owned.len())?;
    Ok(())
}
