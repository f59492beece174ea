//! `port_framework`: a start below `main`, its log, upgrades, drains.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use daemon_harness::{Launch, PATIENCE, Proc, Scene, SetOnDrop, bin};
use daemon_tests::svc::{barrier, free_address};

use super::leading_to;

const WORKERS: usize = 3;

/// A server's configuration, and the FIFO that is its log.
struct Site {
    scene: Scene,
    address: String,
    log: PathBuf,
    heard: RefCell<(File, String)>,
}

impl Site {
    fn new() -> Self {
        let scene = Scene::new();
        let log = barrier(&scene, "log");
        let mut heard = OpenOptions::new();
        heard.read(true).custom_flags(libc::O_NONBLOCK);
        let heard = RefCell::new((heard.open(&log).unwrap(), String::new()));
        let site = Self {
            address: free_address(),
            scene,
            log,
            heard,
        };
        site.configure("");
        site
    }

    /// Writes the configuration, with this text before it.
    fn configure(&self, text: &str) {
        let (pidfile, log) = (self.scene.pidfile(), &self.log);
        let lines = format!(
            "{text}pid_file: {}\nerror_log: {}\nlisten: {}\nthreads: {WORKERS}\n",
            pidfile.display(),
            log.display(),
            self.address
        );
        self.scene.file("conf", lines);
    }

    fn launch(&self) -> Launch<'_> {
        let launch = self.scene.launch(bin("port_framework"));
        launch.arg("-c").arg(self.scene.path("conf"))
    }

    /// The daemon after a good start.
    #[track_caller]
    fn daemon(&self) -> Proc {
        self.launch().arg("-d").run().assert_ready();
        self.scene.daemon()
    }

    /// Waits for a line in the log.
    fn wait_for(&self, line: &str) {
        self.scene.wait_until(line, || {
            let (log, text) = &mut *self.heard.borrow_mut();
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = log.read(&mut bytes) {
                text.push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
            text.lines().any(|found| found == line)
        });
    }

    /// Nobody listens, not even somebody who does not answer.
    fn is_closed(&self) -> bool {
        let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        self.connect().err().is_some_and(refused)
    }

    fn connect(&self) -> io::Result<Client> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Client(BufReader::new(stream)))
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    /// Asks who answers.
    fn ask(&mut self) -> io::Result<i32> {
        self.0.get_mut().write_all(b"who\n")?;
        let mut answer = String::new();
        self.0.read_line(&mut answer)?;
        let pid = answer
            .strip_suffix(" who\n")
            .and_then(|pid| pid.parse().ok());
        pid.ok_or_else(|| io::Error::other(format!("cut short: {answer:?}")))
    }
}

#[test]
fn the_log_that_was_open_before_the_start_stays_and_it_is_ready_at_0() {
    let site = Site::new();
    let inherited = site.scene.file("inherited", "");
    let launch = site
        .launch()
        .arg("-d")
        .descriptor(3, &inherited)
        .descriptor(300, &inherited);
    let starter = launch.env("SECRET", "hunter2").run();
    starter.assert_ready();
    let daemon = site.scene.daemon();
    assert_eq!(site.connect().unwrap().ask().unwrap(), daemon.pid());
    // The first line is the starter's: the same log, before and after the forks.
    site.wait_for(&format!("{} has its configuration", starter.pid));
    site.wait_for(&format!("{} listens", daemon.pid()));
    assert_eq!(leading_to(&daemon, &site.log).len(), 1);
    assert!(leading_to(&daemon, &inherited).is_empty());
    assert!(!daemon.memory_contains(b"hunter2"));
    site.scene
        .wait_until("the workers", || daemon.status().threads > WORKERS as u64);
    assert!(site.scene.stop(&daemon).success());
    site.wait_for(&format!("{} ends", daemon.pid()));
    assert!(!site.scene.pidfile().exists());
}

#[test]
fn in_the_foreground_it_is_the_process_that_was_started() {
    let site = Site::new();
    let running = site.launch().spawn();
    site.wait_for(&format!("{} listens", running.pid()));
    assert_eq!(site.connect().unwrap().ask().unwrap(), running.pid());
    running.signal(libc::SIGTERM);
    running.wait().assert_exited(0);
}

#[test]
fn a_configuration_that_cannot_be_read_is_the_programs_own_status() {
    let site = Site::new();
    let launch = site
        .scene
        .launch(bin("port_framework"))
        .args(["-d", "-c", "/no/such/file"]);
    launch.run().assert_exited(78);
    site.scene.assert_no_leftovers();
}

#[test]
fn usr2_leaves_the_service_to_a_new_instance_and_no_connection_is_lost() {
    let site = Site::new();
    let old = site.daemon();
    let mut kept = site.connect().unwrap();
    assert_eq!(kept.ask().unwrap(), old.pid());
    let (over, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let over_at_end = SetOnDrop(&over);
        let (address, over, answers) = (&site.address, &over, &answers);
        let load = scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let stream = TcpStream::connect(address).expect("a listener");
                Client(BufReader::new(stream)).ask().expect("an answer");
                answers.fetch_add(1, Ordering::Relaxed);
            }
        });
        site.scene
            .wait_until("an answer", || answers.load(Ordering::Relaxed) > 0);
        old.signal(libc::SIGUSR2);
        site.scene.wait_until("another instance", || {
            site.scene
                .pid_in_pidfile()
                .is_some_and(|pid| pid != old.pid())
        });
        site.wait_for(&format!("{} drains", old.pid()));
        let new = site.connect().unwrap().ask().unwrap();
        assert_eq!(Some(new), site.scene.pid_in_pidfile());
        // What was connected is answered until its end, by the old one.
        assert!(!old.is_gone());
        assert_eq!(kept.ask().unwrap(), old.pid());
        drop(kept);
        assert!(site.scene.exit_status(&old).success());
        drop(over_at_end);
        load.join().expect("no failure");
    });
    site.wait_for(&format!("{} ends", old.pid()));
    let new = site.scene.daemon();
    assert_eq!(site.connect().unwrap().ask().unwrap(), new.pid());
    assert_eq!(leading_to(&new, &site.log).len(), 1);
}

#[test]
fn an_upgrade_that_fails_leaves_the_old_one_in_service() {
    let site = Site::new();
    let old = site.daemon();
    let mut kept = site.connect().unwrap();
    site.configure("threads: many\n");
    old.signal(libc::SIGUSR2);
    let reason = "invalid digit found in string";
    site.wait_for(&format!("{} is not replaced: {reason}", old.pid()));
    assert_eq!(site.scene.pid_in_pidfile(), Some(old.pid()));
    assert_eq!(kept.ask().unwrap(), old.pid());
    assert_eq!(site.connect().unwrap().ask().unwrap(), old.pid());
    assert_eq!(site.scene.daemon().pid(), old.pid());

    // With its configuration repaired the next succeeds.
    site.configure("");
    drop(kept);
    old.signal(libc::SIGUSR2);
    assert!(site.scene.exit_status(&old).success());
    let new = site.connect().unwrap().ask().unwrap();
    assert_ne!(new, old.pid());
}

#[test]
fn quit_ends_it_when_its_connections_have_ended() {
    let site = Site::new();
    let daemon = site.daemon();
    let mut kept = site.connect().unwrap();
    assert_eq!(kept.ask().unwrap(), daemon.pid());
    daemon.signal(libc::SIGQUIT);
    site.wait_for(&format!("{} drains", daemon.pid()));
    site.scene.wait_until("a closed port", || site.is_closed());
    assert_eq!(kept.ask().unwrap(), daemon.pid());
    drop(kept);
    assert!(site.scene.exit_status(&daemon).success());
    assert!(!site.scene.pidfile().exists());
    site.scene.assert_no_leftovers();
}

/// It cannot hand over any more.
#[test]
fn an_upgrade_while_it_drains_comes_after_its_end() {
    let site = Site::new();
    let old = site.daemon();
    let mut kept = site.connect().unwrap();
    assert_eq!(kept.ask().unwrap(), old.pid());
    old.signal(libc::SIGQUIT);
    site.wait_for(&format!("{} drains", old.pid()));
    site.scene.wait_until("a closed port", || site.is_closed());
    let upgrade = site.launch().args(["-d", "-u"]).spawn();
    assert_eq!(kept.ask().unwrap(), old.pid());
    assert!(upgrade.is_running());
    drop(kept);
    upgrade.wait().assert_ready();
    assert!(site.scene.exit_status(&old).success());
    assert_eq!(
        site.connect().unwrap().ask().unwrap(),
        site.scene.daemon().pid()
    );
}
