//! `examples/agent`: the tool that starts its own agent.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use daemon_harness::{Launch, Proc, Running, Scene, Started, errno_text, require};
use daemon_tests::built::example;
use nix::unistd::geteuid;

static AGENT: LazyLock<PathBuf> = LazyLock::new(|| example("agent"));

/// A user of the tool, with a runtime directory as a login makes it.
struct User<'s> {
    scene: &'s Scene,
    uid: u32,
    run: PathBuf,
}

impl<'s> User<'s> {
    /// The one who runs the tests or, where that is root, one whom nobody knows.
    fn new(scene: &'s Scene) -> Self {
        Self::with_uid(
            scene,
            if geteuid().is_root() {
                4711
            } else {
                geteuid().as_raw()
            },
        )
    }

    fn with_uid(scene: &'s Scene, uid: u32) -> Self {
        let run = scene.dir(
            format!("run-{uid}"),
            0o700,
            geteuid().is_root().then_some(uid),
        );
        Self { scene, uid, run }
    }

    /// A call, about to be made.
    fn call(&self, line: &str) -> Launch<'s> {
        self.call_without_login(line)
            .env("XDG_RUNTIME_DIR", &self.run)
    }

    fn call_without_login(&self, line: &str) -> Launch<'s> {
        let launch = self.scene.launch(&*AGENT).env("HOME", "/");
        let launch = launch.args(line.split_whitespace());
        if geteuid().is_root() {
            launch.ordinary(self.uid)
        } else {
            launch
        }
    }

    /// What a call that succeeds says.
    #[track_caller]
    fn says(&self, line: &str) -> String {
        self.call(line)
            .run()
            .assert_ready()
            .stdout
            .trim_end()
            .to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.run.join(name)
    }

    /// The agent has ended, and has taken along what it had made.
    #[track_caller]
    fn assert_gone(&self, agent: &Proc) {
        assert!(self.scene.exit_status(agent).success());
        assert!(!self.path("agent.pid").exists() && !self.path("agent.sock").exists());
    }
}

#[test]
fn the_first_call_starts_the_agent_and_the_others_find_it() {
    let scene = Scene::new();
    let user = User::new(&scene);
    user.call("get greeting").run().assert_exited(1);
    let agent = scene.daemon();
    assert_eq!(user.says("set greeting hello"), "");
    assert_eq!(user.says("get greeting"), "hello");
    assert_eq!(
        (user.says("count calls"), user.says("count calls")),
        ("1".into(), "2".into())
    );
    user.says(&format!("set calls {}", u64::MAX));
    user.call("count calls").run().assert_exited(1);
    assert_eq!(scene.daemon().pid(), agent.pid());
    assert_eq!(
        fs::read_to_string(user.path("agent.pid")).unwrap(),
        format!("{}\n", agent.pid())
    );
    assert_eq!(
        fs::metadata(user.path("agent.sock")).unwrap().mode() & 0o077,
        0
    );
    assert_eq!((agent.cwd(), agent.stat().tty_nr), (PathBuf::from("/"), 0));

    agent.signal(libc::SIGTERM);
    user.assert_gone(&agent);
    user.call("get greeting").run().assert_exited(1);
}

#[test]
fn a_hundred_first_calls_at_once_start_one_agent() {
    let scene = Scene::new();
    let user = User::new(&scene);
    for stale in [false, true] {
        let mut gate = scene.gate(if stale { "again" } else { "gate" });
        let limit = Duration::from_mins(1);
        let calls: Vec<_> = (0..100)
            .map(|_| user.call("count calls").behind(&gate).limit(limit).spawn())
            .collect();
        gate.open();
        let calls: Vec<Started> = calls.into_iter().map(Running::wait).collect();
        let answers: BTreeSet<u32> = calls
            .iter()
            .map(|call| {
                call.assert_ready()
                    .stdout
                    .trim()
                    .parse()
                    .unwrap_or_else(|_| panic!("no number: {call:?}"))
            })
            .collect();
        // Each was answered once, and all by the same.
        assert_eq!(answers, (1..=100).collect());
        assert!(calls.iter().all(|call| call.stderr.is_empty()));
        let agent = scene.daemon();
        agent.kill();
        scene.exit_status(&agent);
        assert!(
            user.path("agent.sock").exists(),
            "the next find what a killed agent leaves"
        );
    }
}

#[test]
fn it_ends_when_it_is_idle() {
    let scene = Scene::new();
    let user = User::new(&scene);
    user.call("serve --idle 1").run().assert_ready();
    let agent = scene.daemon();
    for _ in 0..4 {
        // It is busy all the time, and longer than it would wait.
        std::thread::sleep(Duration::from_millis(400));
        user.says("count calls");
    }
    assert_eq!(scene.daemon().pid(), agent.pid());
    user.assert_gone(&agent);
    assert_eq!(user.says("count calls"), "1");
}

#[test]
fn no_call_fails_while_agents_end() {
    let scene = Scene::new();
    let user = User::new(&scene);
    let mut agents = BTreeSet::new();
    for _ in 0..10 {
        user.says("count calls");
        let agent = scene.daemon();
        agents.insert(agent.pid());
        let calls: Vec<_> = (0..4).map(|_| user.call("count calls").spawn()).collect();
        agent.signal(libc::SIGTERM);
        for call in calls {
            assert!(!call.wait().assert_ready().stdout.is_empty());
        }
        scene.exit_status(&agent);
    }
    assert_eq!(agents.len(), 10);
}

#[test]
fn a_silent_client_does_not_hold_up_the_others_for_long() {
    let scene = Scene::new();
    let user = User::new(&scene);
    user.says("set key value");
    let _silent = std::os::unix::net::UnixStream::connect(user.path("agent.sock")).unwrap();
    assert_eq!(user.says("get key"), "value");
}

#[test]
fn without_a_login_it_makes_a_directory_of_its_own() {
    let scene = Scene::new();
    let user = User::new(&scene);
    let tmp = scene.dir("tmp", 0o1777, None);
    let call = |line| user.call_without_login(line).env("TMPDIR", &tmp).run();
    call("set key value").assert_ready();
    assert_eq!(call("get key").assert_ready().stdout, "value\n");
    let own = fs::metadata(tmp.join(format!("agent-{}", user.uid))).unwrap();
    assert_eq!((own.mode() & 0o7777, own.uid()), (0o700, user.uid));
}

#[test]
fn a_directory_that_another_user_has_made_is_refused() {
    require!(root());
    let scene = Scene::new();
    let user = User::new(&scene);
    let tmp = scene.dir("tmp", 0o1777, None);
    scene.dir("tmp/agent-4711", 0o777, Some(4712));
    let call = user.call_without_login("get key").env("TMPDIR", &tmp).run();
    call.assert_exited(2)
        .assert_says(&["is not this user's alone"]);
    scene.assert_no_leftovers();
}

#[test]
fn each_user_has_an_agent_of_their_own() {
    require!(root());
    let scene = Scene::new();
    let users = [4711, 4712].map(|uid| User::with_uid(&scene, uid));
    for user in &users {
        user.says(&format!("set name {}", user.uid));
    }
    for user in &users {
        assert_eq!(user.says("get name"), user.uid.to_string());
    }
    assert_eq!(scene.processes().len(), 2);
}

#[test]
fn an_agent_that_cannot_start_is_an_error_that_says_why() {
    let scene = Scene::new();
    let user = User::new(&scene);
    scene.dir(
        user.path("agent.sock"),
        0o755,
        geteuid().is_root().then_some(user.uid),
    );
    let call = user.call("get key").run();
    call.assert_exited(2)
        .assert_says(&["agent: ", &errno_text(libc::EADDRINUSE)]);
    scene.assert_no_leftovers();
    assert!(!user.path("agent.pid").exists());
}

#[test]
fn wrong_arguments_start_nothing() {
    let scene = Scene::new();
    let user = User::new(&scene);
    for line in ["", "remember key value", "set key", "serve --idle soon"] {
        user.call(line).run().assert_exited(2);
    }
    scene.assert_no_leftovers();
}

/// Under a manager that supervises the client, and even where it has a socket for notifications.
#[test]
fn the_agent_detaches_whoever_calls_the_client() {
    let scene = Scene::new();
    let user = User::new(&scene);
    user.call("set key value")
        .env("NOTIFY_SOCKET", "@nobody")
        .env("SYSTEMD_EXEC_PID", "1")
        .run()
        .assert_ready();
    let agent = scene.daemon();
    assert_ne!(agent.stat().session, agent.pid());
    assert_eq!(user.says("get key"), "value");
}
