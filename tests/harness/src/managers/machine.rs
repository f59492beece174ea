//! A machine of its own: namespaces, an overlay of a root, and an init.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::net::TcpStream;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::{fs, io, thread};

use nix::sched::{CloneFlags, setns};

use super::{Ran, Root, wait_until};

/// What machines, and the commands run in them, have in their environment.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An init for machines that need none: adopts and reaps, and is not among the names that mean
/// supervision.
pub const PLAIN_INIT: &str = "mkfifo /run/never; while :; do read -r _ <>/run/never; done";

/// A running machine. Dropping it ends every process in it and removes whatever it was made of.
#[derive(Debug)]
pub struct Machine {
    shepherd: Child,
    lifeline: Option<ChildStdin>,
    scratch: PathBuf,
    init: u32,
}

impl Machine {
    /// Whether this process may make machines: namespaces, mounts, control groups. Root in a
    /// container often may not.
    pub fn possible() -> bool {
        static POSSIBLE: LazyLock<bool> = LazyLock::new(|| {
            let mounts = "mount -t tmpfs tmpfs /tmp && mkdir /tmp/cgroup && mount -t cgroup2 cgroup2 /tmp/cgroup";
            Command::new("unshare")
                .args([
                    "--mount", "--pid", "--fork", "--cgroup", "--ipc", "--uts", "--net", "sh",
                    "-c", mounts,
                ])
                .output()
                .is_ok_and(|tried| tried.status.success())
        });
        *POSSIBLE
    }

    /// Boots a machine in which nothing runs but an init that reaps orphans, as on a plain server.
    pub fn boot(root: Root) -> Self {
        Self::boot_with(root, ["bash", "-c", PLAIN_INIT])
    }

    /// Boots a machine whose PID 1 is this command. It is about to run when this returns.
    ///
    /// # Panics
    /// If the machine cannot be made. Its console is shown then.
    pub fn boot_with<S: AsRef<OsStr>>(root: Root, init: impl IntoIterator<Item = S>) -> Self {
        let scratch = scratch().expect("a scratch directory");
        let mut shepherd = start(root, init, &scratch).expect("a shepherd");
        let mut machine = Self {
            lifeline: shepherd.stdin.take(),
            shepherd,
            scratch,
            init: 0,
        };
        machine.init = wait_until("a machine", || {
            let over = machine
                .shepherd
                .try_wait()
                .expect("the shepherd is our child")
                .is_some()
                || machine.over();
            assert!(
                !over || machine.init_pid().is_some(),
                "no machine: {}",
                machine.console()
            );
            machine.init_pid()
        });
        machine
    }

    /// A command to be run in the machine as `docker exec` does: it has no parent there.
    pub fn exec<S: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = S>) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter
            .arg("-t")
            .arg(self.init.to_string())
            .args(["-m", "-p", "-i", "-u", "-n", "-C"])
            .args(command);
        nsenter
    }

    /// A command to be run in the machine, by a shell of its own, with nothing but `PATH` in the
    /// environment.
    ///
    /// Without the shell it would have no parent in the machine, and would take itself for a
    /// service in a container.
    pub fn command<S: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = S>) -> Command {
        let mut shell = self.exec(["sh", "-c", r#""$@"; exit "$?""#, "sh"]);
        shell.args(command).env_clear().env("PATH", PATH);
        shell
    }

    /// Runs a command in the machine, up to the end of file on its outputs.
    pub fn run<S: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = S>) -> Ran {
        Ran::of(self.command(command))
    }

    /// Runs a shell script in the machine.
    pub fn sh(&self, script: &str) -> Ran {
        self.run(["sh", "-c", script])
    }

    /// How this process finds a path of the machine: `path("/proc/7/status")`.
    ///
    /// An *absolute symbolic link* on the way is resolved outside: say `/run`, not `/var/run`.
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        let inside = inside.as_ref();
        let root = PathBuf::from(format!("/proc/{}/root", self.init));
        root.join(inside.strip_prefix("/").expect("an absolute path"))
    }

    /// The text of a file in the machine, once it is there and not empty.
    pub fn wait_for_text(&self, inside: &str) -> String {
        wait_until(inside, || {
            fs::read_to_string(self.path(inside))
                .ok()
                .filter(|text| !text.is_empty())
        })
    }

    /// A directory that has the same path inside and outside, for sockets and the like.
    pub fn shared(&self) -> PathBuf {
        self.scratch.join("shared")
    }

    /// The processes of the machine with this name (`/proc/PID/comm`), by their ids inside, zombies
    /// left out.
    pub fn pids(&self, comm: &str) -> Vec<u32> {
        let Ok(entries) = fs::read_dir(self.path("/proc")) else {
            return Vec::new();
        };
        let pids = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let named = |pid: &u32| {
            let stat =
                fs::read_to_string(self.path(format!("/proc/{pid}/stat"))).unwrap_or_default();
            stat.contains(&format!(" ({comm}) ")) && !stat.contains(&format!(" ({comm}) Z"))
        };
        pids.filter(named).collect()
    }

    /// Connects to a TCP service in the machine.
    pub fn connect(&self, address: &str) -> io::Result<TcpStream> {
        self.on_its_network(|| TcpStream::connect(address))
    }

    /// Does something (opens a socket) on the machine's network, which is where abstract sockets
    /// are, too.
    ///
    /// # Panics
    /// If the machine has ended, or `f` panics.
    pub fn on_its_network<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        let network =
            fs::File::open(format!("/proc/{}/ns/net", self.init)).expect("the machine runs");
        let there = || {
            setns(network, CloneFlags::CLONE_NEWNET).expect("root may enter");
            f()
        };
        thread::scope(|scope| scope.spawn(there).join()).expect("done")
    }

    /// What init, and everything that inherited its output, has written.
    pub fn console(&self) -> String {
        let bytes = fs::read(self.scratch.join("console")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until init ends by itself, for its exit status as a shell counts it (but 1 after
    /// SIGKILL).
    pub fn wait_for_end(&self) -> i32 {
        wait_until("the end of init", || {
            fs::read_to_string(self.scratch.join("status"))
                .ok()?
                .trim()
                .parse()
                .ok()
        })
    }

    /// Sends a signal to init from outside, as `docker stop` does.
    pub fn signal_init(&self, signal: &str) {
        let kill = Command::new("kill")
            .args(["-s", signal, &self.init.to_string()])
            .status();
        assert!(kill.expect("kill").success(), "init has ended");
    }

    /// The process id of PID 1, as it is known outside.
    pub fn init(&self) -> u32 {
        self.init
    }

    fn init_pid(&self) -> Option<u32> {
        fs::read_to_string(self.scratch.join("init"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    fn over(&self) -> bool {
        self.scratch.join("status").exists()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- console of the machine\n{}---", self.console());
        }
        self.lifeline = None;
        let ended = self.shepherd.wait();
        if !thread::panicking() {
            assert!(
                ended.is_ok_and(|status| status.success()),
                "the shepherd failed, see {}",
                self.scratch.display()
            );
        }
    }
}

/// A directory for all that a machine is made of. The shepherd removes it.
fn scratch() -> io::Result<PathBuf> {
    let scratch = tempfile::Builder::new()
        .prefix("daemon-tests-")
        .permissions(Permissions::from_mode(0o755))
        .tempdir()?;
    let path = scratch.path();
    fs::DirBuilder::new()
        .mode(0o755)
        .create(path.join("shared"))?;
    fs::write(path.join("shepherd.sh"), include_str!("shepherd.sh"))?;
    fs::write(path.join("machine.sh"), include_str!("machine.sh"))?;
    Ok(scratch.keep())
}

fn start<S: AsRef<OsStr>>(
    root: Root,
    init: impl IntoIterator<Item = S>,
    scratch: &Path,
) -> io::Result<Child> {
    root.write(scratch)?;
    let console = fs::File::options()
        .create(true)
        .append(true)
        .open(scratch.join("console"))?;
    Command::new("unshare")
        .args(["--mount", "sh"])
        .arg(scratch.join("shepherd.sh"))
        .arg(scratch)
        .args(init)
        .process_group(0) // Ctrl-C is for the test; the shepherd cleans up after it
        .stdin(Stdio::piped())
        .stdout(console.try_clone()?)
        .stderr(console)
        .spawn()
}
