//! What the keeper's child does between fork and exec: it enters the surroundings that the test
//! asked for.
//!
//! The keeper has a single thread, so the child may allocate and open as it likes. The order
//! matters: what needs /proc or root comes before these are given up, and each step says why it
//! stands where it does.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, exit};

use nix::fcntl::{OFlag, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{
    ForkResult, Gid, Pid, Uid, chdir, execve, setgroups, setpgid, setresgid, setresuid, setsid,
    tcsetpgrp,
};
use rustix::process::{WaitOptions, setpriority_process, wait, waitpid};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits,
};

use crate::protocol::{Group, Hidden, Namespaces, ProcMount, Spec, Stdio};
use crate::sys;

/// Makes this process a keeper: nothing is open but stdio, it leads a session without a terminal,
/// away from signals to the tests' group, and whatever is orphaned below it becomes its child.
pub(crate) fn become_keeper() -> io::Result<()> {
    sys::close_range(3, RawFd::MAX)?; // Cargo and make leave pipes open.
    sys::set_ignored(libc::SIGCHLD, false)?; // Who ignores it is not told how its children ended.
    setsid()?;
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// Reaps this child, or any: its pid and wait status; `None` if none has ended, an error if there
/// is none at all.
pub(crate) fn reap(pid: Option<i32>) -> io::Result<Option<(i32, i32)>> {
    let ended = match pid {
        Some(pid) => waitpid(rustix::process::Pid::from_raw(pid), WaitOptions::NOHANG),
        None => wait(WaitOptions::NOHANG),
    }?;
    // (nix fails where the status names a signal of real time.)
    Ok(ended.map(|(pid, status)| (pid.as_raw_pid(), status.as_raw())))
}

/// Starts the program in its surroundings; returns its pid when it is about to be executed.
pub(crate) fn start(spec: &Spec) -> Result<i32, String> {
    let (mut failure, report) = io::pipe().map_err(|error| error.to_string())?;
    match sys::fork().map_err(|error| error.to_string())? {
        ForkResult::Parent { child } => {
            drop(report);
            read_failure(&mut failure).map_or(Ok(child.as_raw()), Err)
        }
        ForkResult::Child => {
            let Err(error) = enter_and_execute(spec, report.into());
            exit(error)
        }
    }
}

/// What the child reports; nothing at the successful end: its pipe is closed on exec.
fn read_failure(failure: &mut PipeReader) -> Option<String> {
    let mut text = String::new();
    failure.read_to_string(&mut text).expect("a pipe");
    (!text.is_empty()).then_some(text)
}

/// Adds to an error what was to be done.
trait During<T> {
    fn during(self, what: &str) -> Result<T, String>;
}

impl<T, E: std::fmt::Display> During<T> for Result<T, E> {
    fn during(self, what: &str) -> Result<T, String> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}

/// Never returns but by failing; then the failure was reported, and this is the status to exit
/// with.
fn enter_and_execute(spec: &Spec, report: OwnedFd) -> Result<Infallible, i32> {
    // Away from every number that is asked for. What else the keeper has open is closed on exec, or
    // overwritten.
    let number = (3..RawFd::MAX)
        .find(|number| !spec.descriptors.contains_key(number))
        .expect("a free number");
    let mut report = File::from(sys::move_to(report, number).map_err(|_| 126)?);
    let error = match (enter(spec), &spec.gate) {
        (Err(error), _) => error,
        (Ok(program), None) => program.execute(),
        (Ok(program), Some(gate)) => {
            drop(report); // The keeper has other children to start while this one waits.
            drop(File::open(gate)); // Opening a FIFO waits until it is opened for writing.
            program.execute();
            return Err(127);
        }
    };
    let _ = report.write_all(error.as_bytes());
    Err(127)
}

/// All that is left to do: `execve`.
struct Program {
    path: CString,
    argv: Vec<CString>,
    envp: Vec<CString>,
}

impl Program {
    fn new(spec: &Spec) -> Result<Self, String> {
        let c_string = |bytes: Vec<u8>| CString::new(bytes).during("a NUL in a string");
        let arg0 = spec
            .arg0
            .clone()
            .unwrap_or_else(|| spec.program.clone().into());
        Ok(Self {
            path: c_string(spec.program.as_os_str().as_bytes().to_vec())?,
            argv: std::iter::once(arg0)
                .chain(spec.args.iter().cloned())
                .map(|arg| c_string(arg.into_vec()))
                .collect::<Result<_, _>>()?,
            envp: spec
                .env
                .iter()
                .cloned()
                .map(c_string)
                .collect::<Result<_, _>>()?,
        })
    }

    fn execute(&self) -> String {
        let Err(error) = execve(&self.path, &self.argv, &self.envp);
        format!("execve {}: {error}", self.path.to_string_lossy())
    }
}

fn enter(spec: &Spec) -> Result<Program, String> {
    let program = Program::new(spec)?;
    enter_session(spec)?;
    // While there is a /proc, through which pipes are opened, and the right to open the files.
    open_stdio(spec)?;
    open_descriptors(spec)?;
    if let Some(adjustment) = spec.oom_score_adj {
        fs::write("/proc/self/oom_score_adj", adjustment.to_string()).during("oom_score_adj")?;
    }
    if spec.without_proc {
        own_mounts().during("own mounts")?;
        leave_proc()?;
    }
    // Of this pid namespace, also when it is no longer at its place.
    let proc = spec
        .namespaces
        .map(|_| File::open("/proc"))
        .transpose()
        .during("/proc")?;
    match spec.namespaces {
        Some((namespaces, None)) => make_namespaces(namespaces)?,
        Some((namespaces, Some(pid))) => join_namespaces(namespaces, pid)?,
        None => {}
    }
    // While still root: lower nice values and higher limits need it.
    if let Some(value) = spec.nice {
        setpriority_process(None, value).during("setpriority")?;
    }
    for &(resource, soft, hard) in &spec.rlimits {
        sys::set_rlimit(resource, soft, hard).during("setrlimit")?;
    }
    chdir(&spec.directory).during("chdir")?;
    change_identity(spec)?;
    if let (
        Some((
            Namespaces {
                root_is: Some(uid), ..
            },
            of,
        )),
        Some(proc),
    ) = (spec.namespaces, proc)
    {
        if of.is_none() {
            make_user_namespace(uid, &proc)?;
        }
        become_root()?;
    }
    umask(Mode::from_bits_truncate(spec.umask));
    set_signals(spec)?;
    // Last, as it may deny anything that was needed until here.
    if !spec.denied.is_empty() {
        sys::deny_system_calls(&spec.denied).during("seccomp")?;
    }
    for number in 0..3 {
        if spec.stdio[number] == Stdio::Closed {
            let number = RawFd::try_from(number).expect("0 to 2");
            sys::close_range(number, number).during("close")?;
        }
    }
    Ok(program)
}

fn enter_session(spec: &Spec) -> Result<(), String> {
    match spec.group {
        Group::Inherited => {}
        Group::Own => setpgid(Pid::from_raw(0), Pid::from_raw(0)).during("setpgid")?,
        Group::Session => drop(setsid().during("setsid")?),
    }
    if let Some(terminal) = &spec.terminal {
        // The keeper leads the terminal's session. It blocks SIGTTOU, and so does this process
        // until `set_signals`.
        let terminal = OpenOptions::new()
            .read(true)
            .write(true)
            .open(terminal)
            .during("opening the terminal")?;
        if spec.group == Group::Own {
            tcsetpgrp(&terminal, Pid::this()).during("tcsetpgrp")?;
        }
        if let Some(uid) = spec.uid {
            fchown(&terminal, Some(uid), None).during("chown of the terminal")?;
        }
    }
    Ok(())
}

fn open_stdio(spec: &Spec) -> Result<(), String> {
    for (number, stdio) in (0..).zip(&spec.stdio) {
        let path = match stdio {
            Stdio::Null => Path::new("/dev/null"),
            Stdio::File(path) => path,
            Stdio::Terminal => spec.terminal.as_deref().ok_or("no terminal was given")?,
            Stdio::Pipe => return Err("a pipe is passed as a file of the test's /proc".to_owned()),
            Stdio::Closed => continue, // Closed at the end: until then the number is taken.
        };
        let (input, terminal) = (number == 0, *stdio == Stdio::Terminal);
        let file = OpenOptions::new()
            .read(input || terminal)
            .write(!input || terminal)
            .custom_flags(if input || terminal { 0 } else { libc::O_APPEND } | libc::O_NOCTTY)
            .open(path)
            .during(&path.to_string_lossy())?;
        sys::place(file.into(), number).during("dup2")?;
    }
    Ok(())
}

/// Numbers above the soft limit, which is often 1024, can be had by whoever raises it for a while.
fn open_descriptors(spec: &Spec) -> Result<(), String> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).during("getrlimit")?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).during("setrlimit")?;
    for (&number, path) in &spec.descriptors {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file
            .or_else(|_| File::open(path))
            .during(&path.to_string_lossy())?;
        sys::place(file.into(), number).during("dup2")?;
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).during("setrlimit")
}

/// Enters a mount namespace of its own, of which nothing is seen outside.
pub(crate) fn own_mounts() -> nix::Result<()> {
    let nothing = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(nothing, "/", nothing, private, nothing)
}

/// Makes /proc an empty directory.
fn leave_proc() -> Result<(), String> {
    let nothing = None::<&str>;
    umount2("/proc", MntFlags::MNT_DETACH).during("umount /proc")?;
    if Path::new("/proc/self").exists() {
        mount(
            Some("none"),
            "/proc",
            Some("tmpfs"),
            MsFlags::empty(),
            nothing,
        )
        .during("tmpfs on /proc")?;
        fs::set_permissions("/proc", Permissions::from_mode(0o555)).during("chmod /proc")?;
    }
    Ok(())
}

/// New mounts, a new pid namespace in which the process that goes on is PID 1, and what is to be at
/// /proc.
fn make_namespaces(namespaces: Namespaces) -> Result<(), String> {
    own_mounts().during("own mounts")?;
    if namespaces.pids {
        unshare(CloneFlags::CLONE_NEWPID).during("unshare")?;
        go_on_in_child()?;
    }
    if let Some(uid) = namespaces.run_of {
        let options = format!("mode=755,uid={uid},gid={uid}");
        mount(
            Some("run"),
            "/run",
            Some("tmpfs"),
            MsFlags::empty(),
            Some(&*options),
        )
        .during("tmpfs on /run")?;
    }
    let options = match namespaces.proc {
        ProcMount::Outer => return Ok(()),
        ProcMount::Absent => return leave_proc(),
        ProcMount::New(Hidden::Nothing) => None,
        ProcMount::New(Hidden::AllButProcesses) => Some("subset=pid"),
        ProcMount::New(Hidden::ProcessesOfOthers) => Some("hidepid=2"),
    };
    mount(
        Some("proc"),
        "/proc",
        Some("proc"),
        MsFlags::empty(),
        options,
    )
    .during("mounting /proc")
}

/// The namespaces of a process that [`make_namespaces`] made.
fn join_namespaces(namespaces: Namespaces, pid: i32) -> Result<(), String> {
    let open = |kind: &str| {
        File::open(format!("/proc/{pid}/ns/{kind}")).during(&format!("{kind} of {pid}"))
    };
    let users = namespaces.root_is.map(|_| open("user")).transpose()?;
    let (mounts, pids) = (open("mnt")?, open("pid")?);
    setns(mounts, CloneFlags::CLONE_NEWNS).during("setns of the mounts")?;
    if namespaces.pids {
        setns(pids, CloneFlags::CLONE_NEWPID).during("setns of the pids")?;
        go_on_in_child()?; // Its parent is not of this namespace …
        go_on_in_child()?; // … and so it gets one that is.
    }
    if let Some(users) = users {
        setgroups(&[]).during("setgroups")?;
        // The last, as it takes the right to all the others away.
        setns(users, CloneFlags::CLONE_NEWUSER).during("setns of the users")?;
    }
    Ok(())
}

/// Forks, and goes on in the child; this process waits for it, and ends as it does.
fn go_on_in_child() -> Result<(), String> {
    let ForkResult::Parent { child } = sys::fork().during("fork")? else {
        return Ok(());
    };
    // Whoever reads what the child writes is to see when that ends.
    let _ = sys::close_range(0, RawFd::MAX);
    let status = wait_for(child.as_raw());
    if let Some(signal) = status.signal() {
        let _ = sys::set_blocked(0);
        let _ = sys::set_rlimit(libc::RLIMIT_CORE as _, 0, 0);
        let _ = nix::sys::signal::raise(signal.try_into().unwrap_or(nix::sys::signal::SIGKILL));
    }
    exit(status.code().unwrap_or(125))
}

/// Waits for the end of this child.
fn wait_for(child: i32) -> ExitStatus {
    let child = rustix::process::Pid::from_raw(child);
    loop {
        match waitpid(child, WaitOptions::empty()) {
            Ok(Some((_, status))) => return ExitStatus::from_raw(status.as_raw()),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return ExitStatus::from_raw(125 << 8),
        }
    }
}

/// A user namespace in which this user is root, and no one else is known.
fn make_user_namespace(uid: u32, proc: &File) -> Result<(), String> {
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
    setgroups(&[]).during("setgroups")?;
    setresgid(group, group, group).during("setresgid")?;
    setresuid(user, user, user).during("setresuid")?;
    // Whoever changes their ids cannot write to their own files in /proc any more.
    nix::sys::prctl::set_dumpable(true).during("set_dumpable")?;
    unshare(CloneFlags::CLONE_NEWUSER).during("unshare of the users")?;
    let map = format!("0 {uid} 1");
    for (file, content) in [
        ("self/setgroups", "deny"),
        ("self/uid_map", &map),
        ("self/gid_map", &map),
    ] {
        let file = openat(
            proc,
            file,
            OFlag::O_WRONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .during(file)?;
        File::from(file)
            .write_all(content.as_bytes())
            .during(content)?;
    }
    Ok(())
}

/// Becomes root of a user namespace.
fn become_root() -> Result<(), String> {
    let (user, group) = (Uid::from_raw(0), Gid::from_raw(0));
    setresgid(group, group, group).during("setresgid of root")?;
    setresuid(user, user, user).during("setresuid of root")
}

/// The capabilities in a set.
fn capabilities(set: u64) -> impl Iterator<Item = CapabilitySet> {
    CapabilitySet::from_bits_retain(set).iter()
}

/// Makes everything permitted effective, and these capabilities inheritable.
fn raise_capabilities(inheritable: u64) -> rustix::io::Result<()> {
    let permitted = rustix::thread::capabilities(None)?.permitted;
    let sets = CapabilitySets {
        effective: permitted,
        permitted,
        inheritable: CapabilitySet::from_bits_retain(inheritable),
    };
    set_capabilities(None, sets)
}

fn change_identity(spec: &Spec) -> Result<(), String> {
    for capability in capabilities(spec.bounding_without) {
        remove_capability_from_bounding_set(capability).during("dropping from the bounding set")?;
    }
    if let Some(groups) = &spec.groups {
        let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
        setgroups(&groups).during("setgroups")?;
    }
    if let Some(gid) = spec.gid.map(Gid::from_raw) {
        setresgid(gid, gid, gid).during("setresgid")?;
    }
    if let Some(uid) = spec.uid.map(Uid::from_raw) {
        // Ambient capabilities and securebits are set as the new user, who has these capabilities
        // until the exec.
        nix::sys::prctl::set_keepcaps(true).during("keepcaps")?;
        setresuid(uid, uid, uid).during("setresuid")?;
    }
    let inheritable = spec.inheritable | spec.ambient;
    if inheritable != 0 || spec.uid.is_some() {
        raise_capabilities(inheritable).during("capset")?;
    }
    for capability in capabilities(spec.ambient) {
        configure_capability_in_ambient_set(capability, true)
            .during("raising an ambient capability")?;
    }
    if let Some(bits) = spec.securebits {
        let bits = CapabilitiesSecureBits::from_bits_retain(bits);
        set_capabilities_secure_bits(bits).during("securebits")?;
    }
    if spec.no_new_privs {
        nix::sys::prctl::set_no_new_privs().during("no_new_privs")?;
    }
    Ok(())
}

fn set_signals(spec: &Spec) -> Result<(), String> {
    for signal in (1..=64).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
        sys::set_ignored(signal, spec.ignored >> (signal - 1) & 1 == 1).during("rt_sigaction")?;
    }
    sys::set_blocked(spec.blocked).during("rt_sigprocmask")
}
