//! The service in one of the surroundings, and what is seen of it from outside.

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant};

use daemon_harness::{Launch, Proc, Running, Scene, Started, bin, set_file_capabilities, text_of};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tempfile::TempDir;

use crate::bystanders::Crowd;
use crate::worlds::{How, Place, Who, World};

/// How long a command may take: one that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(20);
/// How long a process may take to do what it is about to do.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// The programs, where every user finds them.
pub(crate) struct Programs {
    _directory: TempDir,
    own: PathBuf,
    service: PathBuf,
    /// The same, but whoever is not root may not read it, and has a capability by it.
    closed: PathBuf,
}

impl Programs {
    pub(crate) fn new() -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("daemon-test-").tempdir()?;
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
        let copy = |program: &str, name: &str, mode: u32| {
            let path = directory.path().join(name);
            fs::copy(bin(program), &path)?;
            fs::set_permissions(&path, Permissions::from_mode(mode))?;
            io::Result::Ok(path)
        };
        let own = copy("surroundings", "bystander", 0o755)?;
        let service = copy("surrounded", "surrounded", 0o755)?;
        let closed = copy("surrounded", "closed", 0o711)?;
        set_file_capabilities(&closed, 1 << 10)?; // CAP_NET_BIND_SERVICE
        Ok(Self {
            _directory: directory,
            own,
            service,
            closed,
        })
    }

    /// What is left of all services.
    pub(crate) fn running(&self) -> Vec<String> {
        let all = Proc::descendants(0).into_iter();
        let ours = all.filter(|process| {
            [&self.service, &self.closed, &self.own]
                .into_iter()
                .any(|program| runs(process, program))
        });
        ours.map(|process| format!("{} ({})", process.pid(), process.name().unwrap_or_default()))
            .collect()
    }
}

fn runs(process: &Proc, program: &Path) -> bool {
    fs::read_link(format!("/proc/{}/exe", process.pid())).is_ok_and(|exe| exe == program)
}

/// What the service answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Its pid, as it knows it.
    pub(crate) pid: i32,
    pub(crate) reloads: usize,
}

pub(crate) struct Stage<'s> {
    pub(crate) world: World,
    scene: &'s Scene,
    program: PathBuf,
    own: PathBuf,
    address: SocketAddr,
    /// The path of the pidfile, in these surroundings.
    path: PathBuf,
    /// The process whose namespaces the commands are given in.
    init: Option<i32>,
    running: Vec<Running<'s>>,
    crowds: Vec<Crowd<'s>>,
}

impl<'s> Stage<'s> {
    pub(crate) fn new(world: World, scene: &'s Scene, programs: &Programs, number: usize) -> Self {
        let directory = scene.dir("service", 0o755, Some(world.owner()));
        // As in a container: on a tmpfs, where the inode numbers of files are small.
        let path = world
            .namespaces()
            .map_or(directory, |_| "/run".into())
            .join("service.pid");
        // An address that nobody else on this machine takes, by mistake, before it is bound.
        let [high, low] = u16::try_from(process::id() % 0x1_0000)
            .expect("16 bits")
            .to_be_bytes();
        let number = u8::try_from(number % 200 + 1).expect("8 bits");
        let address = SocketAddr::from(([127, high, low, number], 4711));
        let program = if world.who == Who::NotDumpable {
            &programs.closed
        } else {
            &programs.service
        };
        let mut stage = Self {
            world,
            scene,
            program: program.clone(),
            own: programs.own.clone(),
            address,
            path,
            init: None,
            running: Vec::new(),
            crowds: Vec::new(),
        };
        if world.how != How::PidOne && world.namespaces().is_some() {
            stage.make_namespaces();
        }
        stage
    }

    /// With an init that is there before the service.
    fn make_namespaces(&mut self) {
        let namespaces = self.world.namespaces().expect("namespaces");
        let running = self
            .scene
            .launch(&self.own)
            .arg("init")
            .in_new_namespaces(namespaces)
            .spawn();
        self.scene
            .wait_until("an init", || running.stdout().contains("ready"));
        self.init = Some(if namespaces.pids {
            only_child(running.pid())
        } else {
            running.pid()
        });
        self.running.push(running);
    }

    /// A program in this place, by this user.
    fn launch(&self, program: &Path) -> Launch<'s> {
        let launch = self.world.by(self.scene.launch(program)).limit(LIMIT);
        match (self.world.namespaces(), self.init) {
            (Some(namespaces), Some(init)) => launch.in_namespaces_of(init, namespaces),
            (Some(namespaces), None) => launch.in_new_namespaces(namespaces),
            (None, _) => launch,
        }
    }

    /// A command of the service, with settings besides the usual ones.
    pub(crate) fn command(&self, line: &str, settings: &str) -> Launch<'s> {
        let user = if self.world.drops() {
            "user=nobody"
        } else {
            ""
        };
        let words = format!(
            "pidfile={} address={} {user} {settings}",
            self.path.display(),
            self.address
        );
        let launch = self
            .launch(&self.program)
            .args(line.split_whitespace())
            .env("SURROUNDED", words);
        self.world.with_signals(launch)
    }

    /// What comes of it; an error if it hangs.
    pub(crate) fn run(&self, line: &str, settings: &str) -> Result<Started, String> {
        let run = || self.command(line, settings).run();
        catch_unwind(AssertUnwindSafe(run)).map_err(|panic| format!("`{line}`: {}", text_of(panic)))
    }

    /// Starts the service as PID 1; its first process.
    pub(crate) fn boot(&mut self, settings: &str) -> Result<i32, String> {
        self.init = None;
        let running = self.command("start", settings).spawn();
        let pid = running.pid();
        self.running.push(running);
        // The keeper's child, which is outside, waits for the one that is PID 1.
        let child = || {
            Proc::descendants(pid)
                .into_iter()
                .find(|process| runs(process, &self.program))
        };
        let found = soon(|| child().ok_or_else(|| "nobody is PID 1".to_owned()))?;
        self.init = Some(found.pid());
        Ok(pid)
    }

    /// The end of a service that is PID 1, with the output that it had.
    pub(crate) fn wait_end(&mut self) -> Result<Started, String> {
        let running = self.running.pop().expect("a service that was started");
        self.init = None;
        catch_unwind(AssertUnwindSafe(|| running.wait())).map_err(text_of)
    }

    /// Bystanders, with the next pids.
    pub(crate) fn gather(&mut self, number: u32) {
        let number = number.to_string();
        let mut arguments = vec!["crowd", &number];
        let mut first = String::new();
        if self.world.place == Place::OuterProc && self.crowds.is_empty() {
            // With the pids that, outside, the processes are going to have that are started after
            // them.
            let last = fs::read_to_string("/proc/loadavg").expect("the last pid");
            let last: u32 = last
                .split_whitespace()
                .last()
                .and_then(|pid| pid.parse().ok())
                .expect("the last pid");
            first = (last + 300).to_string();
            arguments[1] = "300";
        }
        if !first.is_empty() {
            arguments.push(&first);
        }
        let running = self
            .launch(&self.own)
            .args(arguments)
            .blocking_all()
            .spawn();
        self.scene
            .wait_until("bystanders", || running.stdout().contains("ready"));
        self.crowds.push(Crowd::new(running, &self.own));
    }

    /// Who of the bystanders was harmed.
    pub(crate) fn harmed(&self) -> Result<(), String> {
        let harmed = self.crowds.iter().find_map(Crowd::harmed);
        harmed.map_or(Ok(()), Err)
    }

    /// The processes that run its program. (No command is being run.)
    pub(crate) fn services(&self) -> Vec<Proc> {
        let mut all = self.scene.processes();
        all.retain(|process| runs(process, &self.program));
        all
    }

    /// How it is found from here.
    pub(crate) fn pidfile(&self) -> PathBuf {
        match self.init {
            Some(init) => Path::new(&format!("/proc/{init}/root"))
                .join(self.path.strip_prefix("/").expect("absolute")),
            None => self.path.clone(),
        }
    }

    /// Whether the lock on the pidfile is held, by trying it.
    pub(crate) fn is_locked(&self) -> bool {
        let Ok(file) = File::open(self.pidfile()) else {
            return false;
        };
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(_) => false,
            Err((_, error)) => {
                assert_eq!(error, Errno::EWOULDBLOCK, "flock");
                true
            }
        }
    }

    pub(crate) fn pid_in_pidfile(&self) -> Option<i32> {
        fs::read_to_string(self.pidfile())
            .ok()?
            .lines()
            .next()?
            .parse()
            .ok()
    }

    /// What the service answers.
    pub(crate) fn answer(&self) -> Result<Answer, String> {
        let ask = || {
            let peer = TcpStream::connect_timeout(&self.address, SOON)?;
            peer.set_read_timeout(Some(SOON))?;
            let mut line = String::new();
            BufReader::new(peer).read_line(&mut line)?;
            io::Result::Ok(line)
        };
        let line = ask().map_err(|error| format!("it does not answer: {error}"))?;
        let numbers = line.trim_end().split_once(' ');
        let answer = numbers.and_then(|(pid, reloads)| {
            Some(Answer {
                pid: pid.parse().ok()?,
                reloads: reloads.parse().ok()?,
            })
        });
        answer.ok_or_else(|| format!("it answers {line:?}"))
    }

    /// Kills every process of the service, so that the next step begins without one.
    pub(crate) fn clear(&self) {
        kill(&self.services());
    }

    /// All processes, for a message.
    pub(crate) fn shown(&self) -> String {
        self.scene.tree()
    }
}

/// Kills these processes, and waits until they are reaped: a zombie may have a thread that has not
/// ended.
pub(crate) fn kill(processes: &[Proc]) {
    processes.iter().for_each(Proc::kill);
    let reaped = || {
        let left = processes
            .iter()
            .find(|process| process.stat_if_there().is_some());
        left.map_or(Ok(()), |process| {
            Err(format!("{} does not end", process.pid()))
        })
    };
    soon(reaped).expect("the end of a killed process");
}

/// The pid of a process in its own pid namespace.
pub(crate) fn own_pid(process: &Proc) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?
        .split_whitespace()
        .last()?
        .parse()
        .ok()
}

fn only_child(pid: i32) -> i32 {
    Proc::descendants(pid).first().expect("a child").pid()
}

/// Polls until it is so; the last problem if it does not come to be.
pub(crate) fn soon<T>(mut look: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let deadline = Instant::now() + SOON;
    loop {
        match look() {
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            result => return result,
        }
    }
}
