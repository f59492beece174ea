//! A scene: what one test owns, and what vanishes with it.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::stat::{Mode, major, minor};
use nix::unistd::mkfifo;

use crate::keeper_link::KeeperLink;
use crate::proc::describe;
use crate::protocol::Request;
use crate::{Launch, PATIENCE, Proc, Terminal, noise, witness};

/// A directory and a keeper. When it is dropped, or the test process ends in whatever way, every
/// process that was started in it, and all that these left behind, is killed, and the directory is
/// removed.
///
/// After a failed assertion it shows what processes it has.
pub struct Scene {
    // In this order: the keeper kills, then the terminal is closed.
    pub(crate) keeper: KeeperLink,
    terminal: OnceLock<Terminal>,
    directory: PathBuf,
    /// The pids of all that was started.
    pub(crate) launched: Mutex<Vec<i32>>,
}

impl Scene {
    /// A new scene. Its directory is `/tmp/daemon-test-…`, mode 0755: nobody but its owner may
    /// write it, everyone may go through it.
    #[expect(clippy::new_without_default, reason = "it starts a process")]
    pub fn new() -> Self {
        noise::begin();
        let directory = tempfile::Builder::new()
            .prefix("daemon-test-")
            .tempdir()
            .expect("a temporary directory");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("chmod");
        let keeper = KeeperLink::new(directory.path());
        Self {
            keeper,
            terminal: OnceLock::new(),
            directory: directory.keep(),
            launched: Mutex::default(),
        }
    }

    /// Starts a program, when its surroundings are described.
    pub fn launch(&self, program: impl AsRef<Path>) -> Launch<'_> {
        Launch::new(self, program.as_ref())
    }

    /// A path in the scene's directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.join(name)
    }

    /// A new directory in it, with this mode, whatever the umask, and, for root, this owner (user
    /// and group alike).
    pub fn dir(&self, name: impl AsRef<Path>, mode: u32, owner: Option<u32>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).expect("a new directory");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("chmod");
        chown(&path, owner, owner).expect("chown");
        path
    }

    /// A new file in it.
    pub fn file(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("a new file");
        path
    }

    /// The terminal of the scene, on which a shell (the keeper) is running; made when it is first
    /// asked for.
    pub fn terminal(&self) -> &Terminal {
        self.terminal.get_or_init(|| {
            let terminal = Terminal::new();
            let path = terminal.path().to_owned();
            self.keeper
                .ask(|number| Request::Terminal(number, path))
                .expect("a controlling terminal");
            terminal
        })
    }

    /// A gate, before which launches wait: see [`Launch::behind`].
    pub fn gate(&self, name: &str) -> Gate {
        let path = self.path(name);
        mkfifo(&path, Mode::from_bits_truncate(0o666)).expect("a FIFO");
        fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("chmod");
        Gate { path, opened: None }
    }

    /// With `false`, adopted processes stay zombies, as under a careless PID 1, until it is called
    /// with `true`.
    pub fn reap_orphans(&self, reap: bool) {
        self.keeper
            .ask(|number| Request::ReapOrphans(number, reap))
            .expect("a living keeper");
    }

    /// All living processes of the scene, but the strace that watches some, and bystanders.
    pub fn processes(&self) -> Vec<Proc> {
        // Until two looks agree: one alone may miss a process that is orphaned meanwhile, or the
        // child of one that ends meanwhile. (Where there are always new ones they may never agree.)
        let mut seen = self.living();
        for _ in 0..100 {
            let before: Vec<_> = seen.iter().map(Proc::pid).collect();
            seen = self.living();
            if seen.iter().map(Proc::pid).eq(before) {
                break;
            }
        }
        seen
    }

    /// Those that one look sees.
    fn living(&self) -> Vec<Proc> {
        let bystanders = self.keeper.bystanders();
        let mut seen = Proc::descendants(self.keeper.pid());
        seen.retain(|process| !process.is_gone() && !bystanders.contains(&process.pid()));
        seen.retain(|process| process.name().is_some_and(|name| name != "strace"));
        seen
    }

    /// Its parent is the keeper: it was started by the test itself, or is left to init, for which
    /// the keeper stands.
    pub fn is_top(&self, process: &Proc) -> bool {
        process
            .stat_if_there()
            .is_some_and(|stat| stat.ppid == self.keeper.pid())
    }

    /// The daemon: the one living process of the scene.
    pub fn daemon(&self) -> Proc {
        let mut processes = self.processes();
        assert_eq!(processes.len(), 1, "not one daemon:\n{}", self.tree());
        processes.remove(0)
    }

    /// With what status a started or adopted process ended; waits for its end. A process whose
    /// parent still lives is the parent's to reap, and not seen here.
    pub fn exit_status(&self, process: &Proc) -> ExitStatus {
        let ended = self.keeper.ended(process.pid(), Instant::now() + PATIENCE);
        let (status, _) = ended
            .unwrap_or_else(|| panic!("process {} has not ended\n{}", process.pid(), self.tree()));
        ExitStatus::from_raw(status)
    }

    /// Ends a service with SIGTERM, which it may get before it asks for it and dies of, or later and
    /// returns. Returns how it ended.
    #[track_caller]
    pub fn stop(&self, process: &Proc) -> ExitStatus {
        process.signal(libc::SIGTERM);
        let status = self.exit_status(process);
        let killed = status.signal() == Some(libc::SIGTERM);
        assert!(status.success() || killed, "{status}");
        status
    }

    /// Waits until this holds; after [`PATIENCE`] the test has failed.
    pub fn wait_until(&self, what: &str, condition: impl FnMut() -> bool) {
        poll(what, PATIENCE, condition, || self.tree());
    }

    /// Where the tests' services have their pidfile, unless they are given another.
    pub fn pidfile(&self) -> PathBuf {
        self.path("service.pid")
    }

    /// The pid in the pidfile; `None` if the file is absent or holds anything but a number and
    /// newlines: where a longer pid was, there may be several for a moment.
    pub fn pid_in_pidfile(&self) -> Option<i32> {
        let text = fs::read_to_string(self.pidfile()).ok()?;
        let pid = text.strip_suffix('\n')?.trim_end_matches('\n');
        pid.parse().ok()
    }

    /// Who holds the flock(2) of this file, by `/proc/locks` (so without trying to take it): pids,
    /// 0 where it is unknown.
    pub fn lock_holders(&self, path: impl AsRef<Path>) -> Vec<i32> {
        let path = path.as_ref();
        let Ok(file) = fs::metadata(path) else {
            return Vec::new();
        };
        let of_file = |lock: &procfs::Lock| {
            let device = (u64::from(lock.devmaj), u64::from(lock.devmin));
            lock.lock_type == procfs::LockType::FLock
                && (device, lock.inode) == ((major(file.dev()), minor(file.dev())), file.ino())
        };
        // Where others come and go meanwhile a lock may be listed twice, or not at all.
        for _ in 0..5 {
            let locks = procfs::locks().expect("/proc/locks");
            let holders: BTreeSet<i32> = locks
                .iter()
                .filter(|lock| of_file(lock))
                .map(|lock| lock.pid.unwrap_or(0))
                .collect();
            if !holders.is_empty() {
                return holders.into_iter().collect();
            }
        }
        // In a container it leaves out what a process has locked that has ended, as the starter has.
        if self
            .processes()
            .iter()
            .any(|process| process.has_locked(path))
        {
            vec![0]
        } else {
            Vec::new()
        }
    }

    /// What a failed start must not leave: a process, a lock on the pidfile, a pidfile that names
    /// somebody alive.
    pub fn leftovers(&self) -> Vec<String> {
        let mut found: Vec<_> = self
            .processes()
            .iter()
            .map(|process| describe(process.pid()))
            .collect();
        let holders = self.lock_holders(self.pidfile());
        if !holders.is_empty() {
            found.push(format!("the pidfile is locked by {holders:?}"));
        }
        let named = fs::read_to_string(self.pidfile())
            .ok()
            .and_then(|text| text.trim().parse().ok());
        if let Some(process) = named
            .and_then(Proc::new)
            .filter(|process| !process.is_gone())
        {
            found.push(format!("the pidfile names {}", describe(process.pid())));
        }
        found
    }

    /// Fails if there are [`leftovers`](Scene::leftovers), at this very moment.
    pub fn assert_no_leftovers(&self) {
        let leftovers = self.leftovers();
        assert!(
            leftovers.is_empty(),
            "left behind:\n{}",
            leftovers.join("\n")
        );
    }

    /// Fails if there are more services than commands that can have left one: whoever failed has
    /// left none.
    fn assert_all_accounted_for(&self) {
        let launched = self.launched.lock().expect("no panic while launching");
        let failed = |pid: &&i32| {
            let ended = self.keeper.ended(**pid, Instant::now());
            ended.is_some_and(|(status, _)| {
                !matches!(ExitStatus::from_raw(status).code(), None | Some(0))
            })
        };
        let failures = launched.iter().filter(failed).count();
        let services = self
            .processes()
            .iter()
            .filter(|process| self.is_top(process) && witness::is_tested(process.pid()))
            .count();
        let others = launched.len() - failures;
        assert!(
            services <= others,
            "{services} services of {others} commands that did not fail:\n{}",
            self.tree()
        );
    }

    /// All processes of the scene, with what they wait for.
    pub fn tree(&self) -> String {
        let processes = Proc::descendants(self.keeper.pid());
        let pids = std::iter::once(self.keeper.pid()).chain(processes.iter().map(Proc::pid));
        pids.map(describe).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the scene when the test failed:\n{}", self.tree());
            return;
        }
        let harmed: Vec<_> = self
            .keeper
            .bystanders()
            .into_iter()
            .filter_map(|pid| noise::harm(pid, self.keeper.pid()))
            .collect();
        assert!(harmed.is_empty(), "{harmed:?}\n{}", self.tree());
        self.assert_all_accounted_for();
        self.keeper.end();
        let escaped = witness::of_scene(&self.directory);
        assert!(
            escaped.is_empty(),
            "processes of the scene outlive it:\n{}",
            escaped.concat()
        );
    }
}

/// Polls until the condition holds; fails at the limit, with what the scene looks like.
pub(crate) fn poll(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> bool,
    scene: impl Fn() -> String,
) {
    let began = Instant::now();
    while !condition() {
        let waited = began.elapsed();
        assert!(
            waited < limit,
            "waited {limit:?} in vain for {what}\n{}",
            scene()
        );
        // Whoever looks takes the processor from what is waited for: what takes long is asked for
        // less often.
        thread::sleep((waited / 8).clamp(Duration::from_millis(2), Duration::from_millis(100)));
    }
}

/// Launches wait before it, with all their surroundings in place; opened, it lets them execute at
/// the same moment.
pub struct Gate {
    pub(crate) path: PathBuf,
    opened: Option<File>,
}

impl Gate {
    /// Lets pass who waits, and all who come later.
    pub fn open(&mut self) {
        // For reading too, as a FIFO that is opened for both never waits for the other side.
        let opened = OpenOptions::new().read(true).write(true).open(&self.path);
        self.opened = Some(opened.expect("the gate"));
    }
}
