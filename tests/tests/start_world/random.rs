//! Hooks that do anything, by chance. Whatever they do, the starter's word is true, it comes soon,
//! and no file of the service's holds a byte that the service has not written.

use std::fs;

use daemon_harness::Scene;

use crate::{PROMPT, rough};

/// Sequences that were found to be wrong at some time.
const CORPUS: &str = include_str!("../../corpus/hooks.txt");

/// A sequence of random numbers, xorshift64*.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// One to six actions of the hooks; `DATA` stands for a file of the service's.
    fn hooks(&mut self) -> Vec<String> {
        let count = 1 + self.below(6);
        let mut hooks: Vec<u64> = (0..count).map(|_| self.below(4)).collect();
        hooks.sort_unstable();
        let mut hooks: Vec<String> = hooks
            .into_iter()
            .map(|hook| {
                format!(
                    "{}:{}",
                    HOOKS[usize::try_from(hook).unwrap()],
                    self.action()
                )
            })
            .collect();
        // Where a child that has executed nothing holds the pipe, nobody can tell that the daemon
        // speaks no more.
        if hooks.iter().any(|hook| hook.contains(":fork")) {
            hooks.retain(|hook| !hook.contains(":exec"));
        }
        hooks
    }

    fn action(&mut self) -> String {
        let number = 3 + self.below(9);
        match self.below(16) {
            0..=2 => format!("close={number}"),
            3..=5 => format!("open_as=DATA>{number}"),
            6 => format!("close_all={number}"),
            7 | 8 => format!("open=DATA*{}", 1 + self.below(8)),
            9 => "sockets".to_owned(),
            10 => ["fork", "fork_away"][usize::try_from(self.below(2)).unwrap()].to_owned(),
            11 => "new_pids".to_owned(),
            12 => "setsid".to_owned(),
            13 => format!(
                "ignore={}",
                [libc::SIGCHLD, libc::SIGTERM, libc::SIGPIPE]
                    [usize::try_from(self.below(3)).unwrap()]
            ),
            14 => [
                "kill=9",
                "kill=15",
                "exit=0",
                "exit=3",
                "err=no",
                "exec=1000",
            ][usize::try_from(self.below(6)).unwrap()]
            .to_owned(),
            _ => "status=here".to_owned(),
        }
    }
}

/// Those of `main` come after readiness.
const HOOKS: [&str; 4] = ["privileged_init", "init", "init", "main"];

/// Whether somebody holds the pidfile's lock: found out by trying.
fn is_locked(scene: &Scene) -> bool {
    let Ok(file) = fs::File::open(scene.pidfile()) else {
        return false;
    };
    nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockSharedNonblock).is_err()
}

fn check(hooks: &[String], control: bool) {
    let scene = Scene::new();
    let data = scene.file("data", "");
    let hooks: Vec<String> = hooks
        .iter()
        .map(|hook| hook.replace("DATA", &data.display().to_string()))
        .collect();
    let launch = rough(&scene).args(&hooks);
    let started = if control {
        launch.arg("control_socket=")
    } else {
        launch
    }
    .limit(PROMPT)
    .run();
    let what = || {
        format!(
            "{hooks:?}, control socket: {control}: {started:#?}\n{}",
            scene.tree()
        )
    };
    if started.status.success() {
        // What `main` does may have come after that.
        if !hooks.iter().any(|hook| hook.starts_with("main:")) {
            let named = scene.pid_in_pidfile();
            assert!(
                scene
                    .processes()
                    .iter()
                    .any(|process| Some(process.pid()) == named),
                "{}",
                what()
            );
            assert!(is_locked(&scene), "{}", what());
        }
    } else {
        assert!(!started.stderr.is_empty(), "{}", what());
        let left = scene.leftovers();
        assert!(left.is_empty(), "{left:?}: {}", what());
    }
    for process in scene.processes() {
        process.kill();
    }
    scene.wait_until("the end", || scene.processes().is_empty());
    assert_eq!(fs::read_to_string(&data).unwrap(), "", "{}", what());
}

/// A part of the sequences, for a thread of its own.
fn walk(part: u64) {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15 ^ (part + 1).wrapping_mul(0xd134_2543_de82_ef95));
    for number in 0..60 {
        check(&chance.hooks(), number % 2 == 0);
    }
}

#[test]
fn b2_the_corpus() {
    for line in CORPUS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let hooks: Vec<String> = line.split(' ').map(str::to_owned).collect();
        check(&hooks, false);
        check(&hooks, true);
    }
}

#[test]
fn b1_b2_hooks_by_chance_1() {
    walk(1);
}

#[test]
fn b1_b2_hooks_by_chance_2() {
    walk(2);
}

#[test]
fn b1_b2_hooks_by_chance_3() {
    walk(3);
}

#[test]
fn b1_b2_hooks_by_chance_4() {
    walk(4);
}
