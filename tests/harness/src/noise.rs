//! What else there is on a machine: locks on files of other file systems, and processes with
//! neighbouring pids. No test is to notice any of it.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io;
use std::os::fd::RawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use nix::fcntl::{FcntlArg, Flock, FlockArg, fcntl};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, getegid, geteuid, pause, setsid};

use crate::enter::own_mounts;
use crate::{ALL_SIGNALS, Proc, find_bin, sys};

/// The inode numbers on which there are locks: on every tmpfs they begin with 1, which is its root.
const INODES: usize = 1000;

/// Starts the program `noise`, once in a test process; it ends with it.
pub(crate) fn begin() {
    static NOISE: OnceLock<Option<Child>> = OnceLock::new();
    // The end of its stdin, to which nobody writes, is the end of this process.
    NOISE.get_or_init(|| {
        let mut noise = Command::new(find_bin("noise")?);
        noise
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()
    });
}

/// Makes noise until the end of stdin: holds locks on the files of a tmpfs that nobody else sees,
/// with the inode numbers that files of every other tmpfs have.
///
/// Of many programs like this one at a time makes noise, the others wait for their turn: whoever
/// reads /proc/locks stops all who take locks, and the more there are, the longer.
pub fn main() -> io::Result<()> {
    std::thread::spawn(|| {
        _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    let turn = File::open("/proc/self/exe")?;
    turn.lock()?;
    enter_tmpfs()?;
    let _locks = hold_locks(Path::new("/tmp"))?;
    loop {
        std::thread::park();
    }
}

/// Enters a mount namespace with an empty tmpfs at `/tmp`. An ordinary user needs the right to make
/// a user namespace.
fn enter_tmpfs() -> io::Result<()> {
    let (user, group) = (geteuid(), getegid());
    if !user.is_root() {
        unshare(CloneFlags::CLONE_NEWUSER)?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
    }
    own_mounts()?;
    mount_tmpfs(Path::new("/tmp"))
}

/// Mounts a new tmpfs, for a mount namespace of one's own.
pub fn mount_tmpfs(place: &Path) -> io::Result<()> {
    Ok(mount(
        Some("noise"),
        place,
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )?)
}

/// Holds locks of each kind (flock, POSIX, OFD) on new files in this directory.
pub fn hold_locks(directory: &Path) -> io::Result<Vec<Flock<File>>> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    (1..INODES)
        .map(|number| hold_lock(&directory.join(number.to_string())))
        .collect()
}

fn hold_lock(path: &Path) -> io::Result<Flock<File>> {
    let file = File::create_new(path)?;
    let [kind, whence] = [libc::F_WRLCK, libc::SEEK_SET]
        .map(|number| i16::try_from(number).expect("a small number"));
    let range = |start| libc::flock {
        l_type: kind,
        l_whence: whence,
        l_start: start,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_SETLK(&range(0)))?;
    fcntl(&file, FcntlArg::F_SETLK(&range(1)))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error.into())
}

/// Forks a process that does nothing, and keeps all signals that it gets; its pid. It dies with
/// this process.
pub(crate) fn bystander() -> io::Result<i32> {
    match sys::fork()? {
        ForkResult::Parent { child } => Ok(child.as_raw()),
        ForkResult::Child => {
            let Err(_) = stand_by();
            std::process::exit(1)
        }
    }
}

fn stand_by() -> io::Result<Infallible> {
    sys::set_blocked(ALL_SIGNALS)?;
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    prctl::set_name(c"bystander")?;
    setsid()?; // Signals to a group or from a terminal are for others.
    sys::close_range(0, RawFd::MAX)?;
    loop {
        pause();
    }
}

/// What has happened to a bystander of this keeper's, if anything has.
pub(crate) fn harm(bystander: i32, keeper: i32) -> Option<String> {
    let found =
        Proc::new(bystander).filter(|process| !process.is_gone() && process.stat().ppid == keeper);
    let Some(process) = found else {
        return Some(format!("the bystander {bystander} has ended"));
    };
    let status = process.status();
    let signals = status.sigpnd | status.shdpnd;
    (signals != 0)
        .then(|| format!("the bystander {bystander} was sent signals, as a mask {signals:#x}"))
}
