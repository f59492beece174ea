//! What to start, and in what surroundings: ordinary ones at first, as hostile as the test makes
//! them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions, Permissions};
use std::io::{PipeReader, PipeWriter, pipe};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant};

use libc::{c_long, rlim_t};
use nix::sys::resource::Resource;

use crate::outcome::Heard;
use crate::protocol::{Group, Namespaces, Request, Spec};
use crate::{ALL_SIGNALS, Gate, PATIENCE, Running, Scene, Started, Stdio, signal_set};

/// A program to start. Unless it is told otherwise, it starts as a job of a shell without a
/// terminal: in a process group of its own, stdin from `/dev/null`, stdout and stderr to pipes that
/// the test reads, nothing else open, no signal blocked or ignored, umask 022, in `/`, with nothing
/// but `PATH` in its environment, and as the test's user.
#[must_use = "it does nothing until `run` or `spawn`"]
pub struct Launch<'s> {
    scene: &'s Scene,
    spec: Spec,
    limit: Duration,
    strace: Option<(PathBuf, Vec<OsString>)>,
}

impl<'s> Launch<'s> {
    pub(crate) fn new(scene: &'s Scene, program: &Path) -> Self {
        let spec = Spec {
            program: program.to_owned(),
            args: Vec::new(),
            arg0: None,
            env: vec![
                b"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_vec(),
            ],
            stdio: [Stdio::Null, Stdio::Pipe, Stdio::Pipe],
            descriptors: BTreeMap::new(),
            directory: "/".into(),
            umask: 0o022,
            blocked: 0,
            ignored: 0,
            terminal: None,
            group: Group::Own,
            nice: None,
            oom_score_adj: None,
            rlimits: Vec::new(),
            uid: None,
            gid: None,
            groups: None,
            bounding_without: 0,
            inheritable: 0,
            ambient: 0,
            securebits: None,
            no_new_privs: false,
            without_proc: false,
            namespaces: None,
            denied: Vec::new(),
            gate: None,
        };
        Self {
            scene,
            spec,
            limit: PATIENCE,
            strace: None,
        }
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.spec.args.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.spec
            .args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// One more argument `NAME=VALUE`, as the service `svc` takes its settings and actions.
    pub fn set(self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let mut arg = OsString::from(name);
        arg.push("=");
        arg.push(value);
        self.arg(arg)
    }

    /// The name it is called by, instead of the program's path.
    pub fn arg0(mut self, name: impl AsRef<OsStr>) -> Self {
        self.spec.arg0 = Some(name.as_ref().to_owned());
        self
    }

    /// One more variable in the environment.
    pub fn env(self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.raw_env([[name.as_bytes(), b"=", value.as_ref().as_bytes()].concat()])
    }

    /// More entries of the environment as they are: any bytes but NUL, a `=` or not, duplicates.
    pub fn raw_env(mut self, entries: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        self.spec.env.extend(entries.into_iter().map(Into::into));
        self
    }

    /// Nothing in the environment, not even `PATH`, but what comes after this call.
    pub fn env_clear(mut self) -> Self {
        self.spec.env.clear();
        self
    }

    /// Where stdin comes from.
    pub fn stdin(mut self, stdio: Stdio) -> Self {
        self.spec.stdio[0] = stdio;
        self
    }

    /// Where stdout goes.
    pub fn stdout(mut self, stdio: Stdio) -> Self {
        self.spec.stdio[1] = stdio;
        self
    }

    /// Where stderr goes.
    pub fn stderr(mut self, stdio: Stdio) -> Self {
        self.spec.stdio[2] = stdio;
        self
    }

    /// On the scene's [`terminal`](Scene::terminal), in its foreground; stdin, stdout and stderr
    /// are the terminal.
    pub fn on_terminal(mut self) -> Self {
        self.spec.terminal = Some(self.scene.terminal().path().to_owned());
        self.spec.stdio = [Stdio::Terminal, Stdio::Terminal, Stdio::Terminal];
        self
    }

    /// Descriptors with these numbers (3 and up) are open, on `/dev/null`.
    pub fn descriptors(mut self, numbers: impl IntoIterator<Item = i32>) -> Self {
        self.spec.descriptors.extend(
            numbers
                .into_iter()
                .map(|number| (number, "/dev/null".into())),
        );
        self
    }

    /// This descriptor is open on this file (for reading and writing, or for reading if it cannot
    /// be written).
    pub fn descriptor(mut self, number: i32, path: impl Into<PathBuf>) -> Self {
        self.spec.descriptors.insert(number, path.into());
        self
    }

    /// Where it stands.
    pub fn current_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.spec.directory = path.into();
        self
    }

    /// Its umask.
    pub fn umask(mut self, umask: u32) -> Self {
        self.spec.umask = umask;
        self
    }

    /// These signals, by number (1 to 64), are ignored.
    pub fn ignoring(mut self, signals: impl IntoIterator<Item = i32>) -> Self {
        self.spec.ignored |= signal_set(signals);
        self
    }

    /// Every signal is ignored that can be.
    pub fn ignoring_all(mut self) -> Self {
        self.spec.ignored = ALL_SIGNALS;
        self
    }

    /// These signals are blocked.
    pub fn blocking(mut self, signals: impl IntoIterator<Item = i32>) -> Self {
        self.spec.blocked |= signal_set(signals);
        self
    }

    /// Every signal is blocked that can be.
    pub fn blocking_all(mut self) -> Self {
        self.spec.blocked = ALL_SIGNALS;
        self
    }

    /// In the keeper's process group, as a command in a shell script.
    pub fn in_script(mut self) -> Self {
        self.spec.group = Group::Inherited;
        self
    }

    /// As the leader of a session of its own, as under setsid(1); without a controlling terminal.
    pub fn new_session(mut self) -> Self {
        self.spec.group = Group::Session;
        self
    }

    /// Its nice value.
    pub fn nice(mut self, value: i32) -> Self {
        self.spec.nice = Some(value);
        self
    }

    /// How gladly the kernel kills it when memory is short.
    pub fn oom_score_adj(mut self, value: i32) -> Self {
        self.spec.oom_score_adj = Some(value);
        self
    }

    /// A resource limit, soft and hard.
    pub fn rlimit(mut self, resource: Resource, soft: rlim_t, hard: rlim_t) -> Self {
        self.spec.rlimits.push((resource as u32, soft, hard));
        self
    }

    /// As this user; the groups stay, unless they are given too. Needs root, as all of the
    /// following.
    pub fn uid(mut self, uid: u32) -> Self {
        self.spec.uid = Some(uid);
        self
    }

    /// With this group.
    pub fn gid(mut self, gid: u32) -> Self {
        self.spec.gid = Some(gid);
        self
    }

    /// With exactly these supplementary groups.
    pub fn groups(mut self, groups: impl IntoIterator<Item = u32>) -> Self {
        self.spec.groups = Some(groups.into_iter().collect());
        self
    }

    /// As an ordinary user: this uid, the same gid, no other group.
    pub fn ordinary(self, uid: u32) -> Self {
        self.uid(uid).gid(uid).groups([])
    }

    /// Without these capabilities, by number, in the bounding set.
    pub fn bounding_without(mut self, capabilities: impl IntoIterator<Item = u32>) -> Self {
        self.spec.bounding_without |= capability_set(capabilities);
        self
    }

    /// With these capabilities inheritable.
    pub fn inheritable(mut self, capabilities: impl IntoIterator<Item = u32>) -> Self {
        self.spec.inheritable |= capability_set(capabilities);
        self
    }

    /// With these capabilities inheritable and ambient.
    pub fn ambient(mut self, capabilities: impl IntoIterator<Item = u32>) -> Self {
        self.spec.ambient |= capability_set(capabilities);
        self
    }

    /// With these securebits (`SECBIT_…`).
    pub fn securebits(mut self, bits: u32) -> Self {
        self.spec.securebits = Some(bits);
        self
    }

    /// With `no_new_privs` set.
    pub fn no_new_privs(mut self) -> Self {
        self.spec.no_new_privs = true;
        self
    }

    /// In a mount namespace of its own where `/proc` is an empty directory.
    pub fn without_proc(mut self) -> Self {
        self.spec.without_proc = true;
        self
    }

    /// In new namespaces. With a pid namespace it is PID 1 there, a child of what
    /// [`pid`](Running::pid) names, which waits for it and ends as it does.
    pub fn in_new_namespaces(mut self, namespaces: Namespaces) -> Self {
        self.spec.namespaces = Some((namespaces, None));
        self
    }

    /// In the namespaces of this process, which was started in [new
    /// ones](Launch::in_new_namespaces). In a pid namespace its parent is a process that does
    /// nothing but wait for it and end as it does, as the shell of `docker exec CONTAINER sh -c
    /// "COMMAND; exit $?"`.
    pub fn in_namespaces_of(mut self, pid: i32, namespaces: Namespaces) -> Self {
        self.spec.namespaces = Some((namespaces, Some(pid)));
        self
    }

    /// This system call (`libc::SYS_…`) fails with this error, in the program and in all that it
    /// starts, by seccomp.
    pub fn denying(mut self, system_call: c_long, errno: i32) -> Self {
        for call in crate::sys::each_width(system_call) {
            self.spec.denied.push((call, errno));
        }
        self
    }

    /// Under strace, with these arguments, as `["-e",
    /// "inject=fork,clone,clone3:error=EAGAIN:when=2"]`; `-f` is given, and what it writes is in
    /// the file of this name in the scene's directory.
    ///
    /// Calls that a system has by another name, or not at all, are allowed for: `fcntl` is `fcntl64`
    /// where that is what programs call.
    ///
    /// strace stands aside (`-DDD`), so that the program keeps its parent, its pid and its status.
    /// `when` is counted for each process apart, and includes what the dynamic loader and Rust's
    /// runtime call before `main`. That strace itself holds stderr and outlives the starter is
    /// allowed for.
    pub fn strace(mut self, log: &str, args: &[&str]) -> Self {
        self.strace = Some((
            self.scene.path(log),
            args.iter().map(|argument| any_width(argument)).collect(),
        ));
        self
    }

    /// Waits before this gate, ready to be executed. [`spawn`](Launch::spawn) returns at once; the
    /// time counts from there.
    pub fn behind(mut self, gate: &Gate) -> Self {
        self.spec.gate = Some(gate.path.clone());
        self
    }

    /// The test fails if it does not end within this time, instead of [`PATIENCE`].
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// A hostile place, all in one: descriptors low, high and many; all signals ignored and
    /// blocked; umask 077; a temporary directory that others may write; the loader's variables,
    /// bytes that are no text and secrets in the environment; and, as root, foreign groups.
    /// (`SECRET=hunter2` is among the entries.)
    pub fn hostile(self) -> Self {
        let place = self.scene.path("hostile");
        if !place.exists() {
            self.scene.dir("hostile", 0o1777, None);
        }
        let many = (0..2000).map(|number| format!("FILLER_{number}={number}"));
        let hostile = self
            .descriptors((3..=12).chain([63, 255, 256, 1023, 1024]).chain(2000..3000))
            .ignoring_all()
            .blocking_all()
            .umask(0o077)
            .current_dir(place)
            .raw_env(many)
            .raw_env([
                b"SECRET=hunter2".as_slice(),
                b"LD_LIBRARY_PATH=/nowhere",
                b"IFS=/",
                b"no equals sign",
            ])
            .raw_env([
                b"=no name".as_slice(),
                b"",
                b"BYTES=\xff\xfe",
                b"\xff=1",
                b"SECRET=hunter3",
                b"TMPDIR=/nowhere",
            ]);
        if nix::unistd::geteuid().is_root() {
            hostile.groups([0, 1, 2, 4, 27, 4242])
        } else {
            hostile
        }
    }

    /// Starts it and waits for its end.
    pub fn run(self) -> Started {
        self.spawn().wait()
    }

    /// Starts it.
    pub fn spawn(mut self) -> Running<'s> {
        self.create_files();
        self.make_reachable();
        let traced = self.strace.is_some();
        self.put_under_strace();
        let mut pipes = self.open_pipes();
        let since = Instant::now();
        let spec = Box::new(self.spec);
        let started = self.scene.keeper.ask(|number| Request::Start(number, spec));
        let pid = started.unwrap_or_else(|error| panic!("the start was not even tried: {error}"));
        self.scene
            .launched
            .lock()
            .expect("no panic while launching")
            .push(pid);
        // Here the descriptors that the program has now are dropped, so that the end of file is
        // seen.
        let heard = |pipe: Option<Pipe>| pipe.map(|pipe| Heard::new(pipe.0));
        let [stdin, stdout, stderr] = [0, 1, 2].map(|number| pipes[number].take());
        Running {
            scene: self.scene,
            pid,
            since,
            limit: self.limit,
            stdin: stdin.map(|pipe| pipe.1),
            stdout: heard(stdout),
            stderr: heard(stderr),
            traced,
        }
    }

    /// As redirections of a shell would.
    fn create_files(&self) {
        for stdio in &self.spec.stdio[1..] {
            if let Stdio::File(path) = stdio {
                OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(path)
                    .expect("a file to write to");
            }
        }
    }

    /// Copies the program into the scene if it lies where the user it is started as cannot go.
    fn make_reachable(&mut self) {
        let program = &self.spec.program;
        let open_to_all = |dir: &Path| fs::metadata(dir).is_ok_and(|found| found.mode() & 1 == 1);
        if self.spec.uid.is_some() && !program.ancestors().skip(1).all(open_to_all) {
            let copy = self.scene.path(program.file_name().expect("a program"));
            if !copy.exists() {
                fs::copy(program, &copy).expect("a copy of the program");
            }
            self.spec.program = copy;
        }
    }

    fn put_under_strace(&mut self) {
        let Some((log, args)) = self.strace.take() else {
            return;
        };
        fs::write(&log, "").expect("strace's output");
        fs::set_permissions(&log, Permissions::from_mode(0o666)).expect("chmod");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let strace = std::env::split_paths(&path)
            .map(|dir| dir.join("strace"))
            .find(|path| path.is_file());
        let program = std::mem::replace(&mut self.spec.program, strace.expect("strace"));
        assert!(
            self.spec.arg0.is_none(),
            "strace cannot set a name to be called by"
        );
        let mut command = ["-DDD", "-f", "-qq", "-o"].map(OsString::from).to_vec();
        command.push(log.into());
        command.extend(args);
        command.extend(["--".into(), program.into()]);
        command.append(&mut self.spec.args);
        self.spec.args = command;
    }

    /// Makes the pipes; the keeper opens their other ends through /proc, by the path that replaces
    /// each.
    fn open_pipes(&mut self) -> [Option<Pipe>; 3] {
        [0, 1, 2].map(|number| {
            let stdio = &mut self.spec.stdio[number];
            (*stdio == Stdio::Pipe).then(|| {
                let (reader, writer) = pipe().expect("a pipe");
                let theirs = if number == 0 {
                    reader.as_raw_fd()
                } else {
                    writer.as_raw_fd()
                };
                *stdio = Stdio::File(format!("/proc/{}/fd/{theirs}", process::id()).into());
                Pipe(reader, writer)
            })
        })
    }
}

/// Both ends of a pipe.
struct Pipe(PipeReader, PipeWriter);

/// The mask of these capabilities.
fn capability_set(capabilities: impl IntoIterator<Item = u32>) -> u64 {
    capabilities
        .into_iter()
        .fold(0, |set, capability| set | 1 << capability)
}

/// The calls that an argument of strace names, as a pattern that matches their wider variants, too:
/// `trace=fcntl,close` is `trace=/^(fcntl|close)(32|64)?$`. That a processor lacks one (`?rename`) is
/// no error in a pattern.
fn any_width(argument: &str) -> OsString {
    let Some((verb, rest)) = argument.split_once('=') else {
        return argument.into();
    };
    let (calls, how) = rest.split_at(rest.find(':').unwrap_or(rest.len()));
    if calls.starts_with(['/', '%']) {
        return argument.into();
    }
    format!(
        "{verb}=/^({})(32|64)?${how}",
        calls.replace('?', "").replace(',', "|")
    )
    .into()
}
