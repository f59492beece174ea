//! `examples/worker`: a database, and threads.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;

use daemon_harness::{Launch, PATIENCE, Proc, Scene, Started};
use daemon_tests::built::example;

use super::{ordinary, own_dir};

/// The queue of an ordinary user.
struct Queue<'s> {
    scene: &'s Scene,
    program: PathBuf,
    directory: PathBuf,
}

impl<'s> Queue<'s> {
    fn new(scene: &'s Scene) -> Self {
        Self {
            scene,
            program: example("worker"),
            directory: own_dir(scene, "queue"),
        }
    }

    fn call(&self, words: &[&str]) -> Started {
        let launch: Launch<'_> = ordinary(self.scene.launch(&self.program));
        let launch = launch
            .env("RUNTIME_DIRECTORY", &self.directory)
            .env("LOGS_DIRECTORY", &self.directory)
            .env("STATE_DIRECTORY", &self.directory);
        launch.current_dir(self.scene.path("")).args(words).run()
    }

    fn start(&self) -> Proc {
        self.call(&["start"]).assert_ready();
        self.scene.daemon()
    }

    /// What `list` says, without the directory.
    fn list(&self) -> String {
        let list = self.call(&["list"]);
        let directory = self.scene.path("").display().to_string();
        let files = list.assert_ready().stdout.replace(&directory, "");
        files
            .replace("\n/", "\n")
            .trim_start_matches('/')
            .to_owned()
    }

    fn add(&self, file: &str) {
        self.call(&["add", file]).assert_ready();
    }

    /// A job that lasts until its file is written.
    fn add_slow(&self, name: &str) {
        let mut mkfifo = Command::new("mkfifo");
        mkfifo.args(["-m", "644"]).arg(self.scene.path(name));
        assert!(mkfifo.status().expect("mkfifo").success());
        self.add(name);
    }

    /// The file of such a job, as soon as a thread has begun with it.
    fn begun(&self, name: &str) -> File {
        let mut open = File::options();
        open.write(true).custom_flags(libc::O_NONBLOCK);
        let mut file = None;
        self.scene.wait_until(name, || {
            file = open.open(self.scene.path(name)).ok();
            file.is_some()
        });
        file.expect("it is open")
    }
}

#[test]
fn worker_finishes_what_it_has_begun_and_begins_nothing_else() {
    let scene = Scene::new();
    let queue = Queue::new(&scene);
    for name in ["first", "second"] {
        queue.add_slow(name);
    }
    scene.file("third", "one\ntwo\nthree\n");
    queue.add("third");
    let daemon = queue.start();
    let (mut first, mut second) = (queue.begun("first"), queue.begun("second"));
    daemon.signal(libc::SIGTERM);
    for file in [&mut first, &mut second] {
        assert!(!daemon.is_gone());
        file.write_all(b"one\ntwo\n").expect("a reader");
    }
    drop((first, second));
    assert!(scene.exit_status(&daemon).success());
    assert_eq!(queue.list(), "first: 2\nsecond: 2\nthird: …\n");
    assert!(!queue.directory.join("jobs.db-wal").exists());

    let daemon = queue.start();
    scene.wait_until("the third job", || queue.list().ends_with("third: 3\n"));
    assert!(scene.stop(&daemon).success());
}

#[test]
fn worker_begins_once_more_what_was_cut_short() {
    let scene = Scene::new();
    let queue = Queue::new(&scene);
    queue.add_slow("slow");
    let daemon = queue.start();
    let cut = queue.begun("slow");
    daemon.kill();
    daemon.wait_gone(PATIENCE);
    drop(cut);
    assert_eq!(queue.list(), "slow: …\n");
    let daemon = queue.start();
    queue.begun("slow").write_all(b"one\n").expect("a reader");
    scene.wait_until("the result", || queue.list() == "slow: 1\n");
    assert!(scene.stop(&daemon).success());
}
