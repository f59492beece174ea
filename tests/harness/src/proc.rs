//! A process, seen from outside through /proc.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libc::c_long;
use procfs::process::{MMPermissions, Process, Stat, Status, all_processes};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::scene::poll;
use crate::sys;

/// A process; once it is gone, it never becomes another one that got the same pid.
///
/// [`stat`](Proc::stat) and [`status`](Proc::status) are what procfs reads of the files of these
/// names: `stat().session`, `.pgrp`, `.tty_nr`, `.ppid`, `.nice`; `status().umask`, `.ruid` …
/// `.fgid`, `.groups`, `.capprm`, `.nonewprivs`, `.threads`. Whatever is read of a process that is
/// gone fails the test.
#[derive(Debug)]
pub struct Proc {
    process: Process,
    handle: OwnedFd,
}

/// One open descriptor of a process.
#[derive(Clone, Debug, PartialEq)]
pub struct Descriptor {
    /// What `/proc/PID/fd/N` points to: `/dev/null`, `pipe:[4711]`, `socket:[42]`, `/tmp/x
    /// (deleted)`.
    pub target: PathBuf,
    /// The flags it was opened with, `O_CLOEXEC` among them.
    pub flags: i32,
    /// Its locks, as in `/proc/PID/fdinfo/N`.
    pub locks: Vec<String>,
}

impl Descriptor {
    /// Closed on exec.
    pub fn cloexec(&self) -> bool {
        self.flags & libc::O_CLOEXEC != 0
    }

    /// How many of its locks are flock(2)s.
    pub fn flocks(&self) -> usize {
        self.locks
            .iter()
            .filter(|lock| lock.contains("FLOCK"))
            .count()
    }

    /// `O_RDONLY`, `O_WRONLY` or `O_RDWR`.
    pub fn access(&self) -> i32 {
        self.flags & libc::O_ACCMODE
    }
}

impl Proc {
    /// The process with this pid, if there is one.
    pub fn new(pid: i32) -> Option<Self> {
        // In this order the two are the same: what the handle refers to was there before the
        // directory was opened, and if it is alive afterwards the pid had no other owner meanwhile.
        let handle = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        let process = Process::new(pid).ok()?;
        let gone = sys::pidfd_signal(&handle, 0)
            .is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH));
        (!gone).then_some(Self { process, handle })
    }

    /// All below this pid, at any depth, zombies included. A process that is orphaned during the
    /// look may be missed.
    pub fn descendants(pid: i32) -> Vec<Self> {
        let mut children = BTreeMap::<i32, Vec<i32>>::new();
        for stat in all_processes()
            .expect("/proc")
            .filter_map(|process| process.ok()?.stat().ok())
        {
            children.entry(stat.ppid).or_default().push(stat.pid);
        }
        let mut found = vec![pid];
        let mut next = 0;
        while let Some(&parent) = found.get(next) {
            found.extend(children.remove(&parent).unwrap_or_default());
            next += 1;
        }
        found.into_iter().skip(1).filter_map(Self::new).collect()
    }

    /// Its pid.
    pub fn pid(&self) -> i32 {
        self.process.pid
    }

    /// The first 15 bytes of its program's name; `None` if it is gone.
    pub fn name(&self) -> Option<String> {
        self.process.stat().ok().map(|stat| stat.comm)
    }

    /// It has ended; a zombie has too.
    pub fn is_gone(&self) -> bool {
        self.process
            .stat()
            .map_or(true, |stat| matches!(stat.state, 'Z' | 'X'))
    }

    /// Waits until it has ended.
    pub fn wait_gone(&self, limit: Duration) {
        let what = format!("the end of process {}", self.pid());
        poll(&what, limit, || self.is_gone(), || describe(self.pid()));
    }

    /// Sends it a signal, of real time too.
    pub fn signal(&self, signal: i32) {
        sys::pidfd_signal(&self.handle, signal)
            .unwrap_or_else(|error| panic!("signal {signal} to {self:?}: {error}"));
    }

    /// Sends it a signal, unless it has ended already.
    pub fn send(&self, signal: i32) {
        let _ = sys::pidfd_signal(&self.handle, signal);
    }

    /// Ends it with SIGKILL, unless it has ended already.
    pub fn kill(&self) {
        self.send(libc::SIGKILL);
    }

    /// `/proc/PID/stat`.
    pub fn stat(&self) -> Stat {
        self.process
            .stat()
            .unwrap_or_else(|error| panic!("process {}: {error}", self.pid()))
    }

    /// Whether a signal has suspended it: each thread, which may be some time after the first.
    pub fn is_suspended(&self) -> bool {
        let threads = self.process.tasks();
        let mut threads = threads.unwrap_or_else(|error| panic!("process {}: {error}", self.pid()));
        threads.all(|thread| {
            thread
                .and_then(|thread| thread.stat())
                .is_ok_and(|stat| stat.state == 'T')
        })
    }

    /// The same as [`Self::stat`], unless it is gone: for who looks at processes that come and go.
    pub fn stat_if_there(&self) -> Option<Stat> {
        self.process.stat().ok()
    }

    /// `/proc/PID/status`.
    pub fn status(&self) -> Status {
        self.process
            .status()
            .unwrap_or_else(|error| panic!("process {}: {error}", self.pid()))
    }

    /// The signals in a mask of `/proc/PID/status`.
    fn signals(mask: u64) -> Vec<i32> {
        (1..=64)
            .filter(|signal| mask >> (signal - 1) & 1 == 1)
            .collect()
    }

    /// The numbers of the signals that it ignores.
    pub fn ignored(&self) -> Vec<i32> {
        Self::signals(self.status().sigign)
    }

    /// The numbers of the signals that it has a handler for.
    pub fn caught(&self) -> Vec<i32> {
        Self::signals(self.status().sigcgt)
    }

    /// The numbers of the signals that its main thread blocks.
    pub fn blocked(&self) -> Vec<i32> {
        Self::signals(self.status().sigblk)
    }

    /// A file of its directory in /proc. The answer is of this process only, as it still lives
    /// afterwards.
    fn read(&self, name: &str) -> Vec<u8> {
        let content = fs::read(format!("/proc/{}/{name}", self.pid()));
        assert!(
            self.process.stat().is_ok(),
            "process {} is gone",
            self.pid()
        );
        content.unwrap_or_else(|error| panic!("/proc/{}/{name}: {error}", self.pid()))
    }

    fn link(&self, name: &str) -> PathBuf {
        let target = fs::read_link(format!("/proc/{}/{name}", self.pid()));
        assert!(
            self.process.stat().is_ok(),
            "process {} is gone",
            self.pid()
        );
        target.unwrap_or_else(|error| panic!("/proc/{}/{name}: {error}", self.pid()))
    }

    /// Its environment, as the kernel shows it: from the memory of the first stack, to the byte.
    pub fn environ_bytes(&self) -> Vec<u8> {
        self.read("environ")
    }

    /// The entries of its environment, without those that were overwritten by NULs.
    pub fn environ(&self) -> Vec<OsString> {
        self.strings("environ")
    }

    /// Its arguments, the name first.
    pub fn arguments(&self) -> Vec<OsString> {
        self.strings("cmdline")
    }

    fn strings(&self, name: &str) -> Vec<OsString> {
        let bytes = self.read(name);
        let strings = bytes
            .split(|&byte| byte == 0)
            .filter(|string| !string.is_empty());
        strings
            .map(|string| OsString::from_vec(string.to_vec()))
            .collect()
    }

    /// Whether these bytes are anywhere in its memory that is its own and writable (as the stack
    /// and the heap).
    pub fn memory_contains(&self, secret: &[u8]) -> bool {
        let maps = self.process.maps().expect("the mappings of a process");
        let memory = self.process.mem().expect("the memory of a process");
        let own = MMPermissions::READ | MMPermissions::WRITE | MMPermissions::PRIVATE;
        maps.into_iter().any(|map| {
            if !map.perms.contains(own) {
                return false;
            }
            let (from, to) = map.address;
            let mut bytes = vec![0; usize::try_from(to - from).expect("a mapping")];
            memory.read_exact_at(&mut bytes, from).is_ok()
                && bytes.windows(secret.len()).any(|part| part == secret)
        })
    }

    /// Its memory that is no file's, in KiB: what it has written to. (`Private_Dirty` has pages of a
    /// program that was just built, too.)
    pub fn anonymous(&self) -> u64 {
        let rollup = String::from_utf8(self.read("smaps_rollup")).expect("text");
        let line = rollup
            .lines()
            .find_map(|line| line.strip_prefix("Anonymous:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number
            .and_then(|number| number.parse().ok())
            .expect("a number")
    }

    /// Its working directory.
    pub fn cwd(&self) -> PathBuf {
        self.link("cwd")
    }

    /// Its root directory.
    pub fn root(&self) -> PathBuf {
        self.link("root")
    }

    /// The program that it runs.
    pub fn exe(&self) -> PathBuf {
        self.link("exe")
    }

    /// Its open descriptors by number.
    pub fn descriptors(&self) -> BTreeMap<i32, Descriptor> {
        self.descriptors_if_there()
            .expect("the descriptors of a process")
    }

    fn descriptors_if_there(&self) -> io::Result<BTreeMap<i32, Descriptor>> {
        let directory = fs::read_dir(format!("/proc/{}/fd", self.pid()))?;
        let numbers =
            directory.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        Ok(numbers
            .filter_map(|number| Some((number, self.descriptor(number)?)))
            .collect())
    }

    /// Whether it is alive and one of its descriptors has a flock(2) of this file.
    pub(crate) fn has_locked(&self, path: &Path) -> bool {
        let Ok(descriptors) = self.descriptors_if_there() else {
            return false;
        };
        descriptors
            .values()
            .any(|descriptor| descriptor.target == path && descriptor.flocks() > 0)
    }

    fn descriptor(&self, number: i32) -> Option<Descriptor> {
        let target = fs::read_link(format!("/proc/{}/fd/{number}", self.pid())).ok()?;
        let info = fs::read_to_string(format!("/proc/{}/fdinfo/{number}", self.pid())).ok()?;
        let fields = || info.lines().filter_map(|line| line.split_once(':'));
        let flags = fields().find(|(name, _)| *name == "flags")?.1.trim();
        let locks = fields()
            .filter(|(name, _)| *name == "lock")
            .map(|(_, lock)| lock.trim().to_owned());
        Some(Descriptor {
            target,
            flags: i32::from_str_radix(flags, 8).ok()?,
            locks: locks.collect(),
        })
    }

    /// The first argument of the system call in which it sleeps, if that is one of these.
    /// (`/proc/PID/wchan` would name the place in the kernel, which some keep secret.)
    pub fn sleeps_in(&self, calls: &[c_long]) -> Option<u64> {
        let at = fs::read_to_string(format!("/proc/{}/syscall", self.pid())).ok()?;
        let mut words = at.split(' ');
        let call = words.next()?.parse().ok()?;
        if !calls.contains(&call) {
            return None;
        }
        u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()
    }

    /// Whether it waits for what this call (`libc::SYS_read`) does with a pipe.
    pub fn waits_for_pipe(&self, call: c_long) -> bool {
        let Some(number) = self.sleeps_in(&[call]) else {
            return false;
        };
        let number = i32::try_from(number).expect("a descriptor");
        self.descriptor(number)
            .is_some_and(|descriptor| descriptor.target.to_string_lossy().starts_with("pipe:["))
    }

    /// The descriptor that leads to this file, if it has exactly one.
    pub fn descriptor_of(&self, path: impl AsRef<Path>) -> Option<(i32, Descriptor)> {
        let mut found = self
            .descriptors()
            .into_iter()
            .filter(|(_, descriptor)| descriptor.target == path.as_ref());
        found.next().filter(|_| found.next().is_none())
    }
}

/// A process in a line or some: what it is, what it waits for, and, for root, where in the kernel.
pub(crate) fn describe(pid: i32) -> String {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let text = |name: &str| {
        String::from_utf8_lossy(&read(name))
            .replace('\0', " ")
            .trim_end()
            .to_owned()
    };
    let Some(stat) = Process::new(pid)
        .ok()
        .and_then(|process| process.stat().ok())
    else {
        return format!("{pid} is gone\n");
    };
    let mut shown = format!(
        "{pid} ({}) state {} ppid {} pgrp {} session {} wchan {} : {}\n",
        stat.comm,
        stat.state,
        stat.ppid,
        stat.pgrp,
        stat.session,
        text("wchan"),
        text("cmdline")
    );
    for line in text("stack").lines() {
        let _ = writeln!(shown, "        {line}");
    }
    shown
}
