//! The harness, tested on itself: a test that sees nothing wrong is worth something only if it
//! would have seen it.

mod machines;
mod witness;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio as Std};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use daemon_harness::{ALL_SIGNALS, Launch, PATIENCE, Proc, Running, Scene, Stdio, require};
use nix::sys::resource::Resource;

const CAP_NET_BIND_SERVICE: u32 = 10;
const CAP_SYS_ADMIN: u32 = 21;

/// A shell script.
fn script<'s>(scene: &'s Scene, text: &str) -> Launch<'s> {
    scene.launch("/bin/sh").args(["-c", text])
}

/// `sleep` in these surroundings, to be looked at. (A shell would change some of them.)
fn sleeper<'s>(
    scene: &'s Scene,
    surroundings: impl FnOnce(Launch<'s>) -> Launch<'s>,
) -> Running<'s> {
    let running = surroundings(scene.launch("/bin/sleep").arg("1000")).spawn();
    // Before it sleeps, the dynamic loader has files open.
    let call = format!("{} ", libc::SYS_clock_nanosleep);
    let now = || fs::read_to_string(format!("/proc/{}/syscall", running.pid())).unwrap();
    scene.wait_until("sleep", || now().starts_with(&call));
    running
}

/// What a failed assertion says.
fn failure(what: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(what)).expect_err("a failed assertion");
    panic.downcast_ref::<String>().expect("a message").clone()
}

#[test]
fn a_start_tells_its_status_and_output() {
    let scene = Scene::new();
    let started = script(&scene, "echo out; echo err >&2; exit 82").run();
    started.assert_exited(82).assert_says(&["err"]);
    assert_eq!(
        (started.stdout.as_str(), started.stderr.as_str()),
        ("out\n", "err\n")
    );
    script(&scene, "kill -TERM $$")
        .run()
        .assert_killed(libc::SIGTERM);
    script(&scene, "kill -40 $$").run().assert_killed(40);
    assert!(failure(|| drop(scene.launch("/no/such/program").run())).contains("No such file"));
}

#[test]
fn ordinary_surroundings() {
    let scene = Scene::new();
    let running = sleeper(&scene, |launch| launch);
    let (process, stat) = (running.process(), running.process().stat());
    assert_eq!(
        process.descriptors().into_keys().collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert_eq!(process.descriptors()[&0].target, Path::new("/dev/null"));
    assert!(
        process.descriptors()[&1]
            .target
            .to_string_lossy()
            .starts_with("pipe:")
    );
    assert_eq!(
        (process.ignored(), process.blocked(), process.caught()),
        (vec![], vec![], vec![])
    );
    assert_eq!((process.cwd(), process.root()), ("/".into(), "/".into()));
    assert_eq!((stat.pgrp, stat.tty_nr), (running.pid(), 0));
    assert_ne!(stat.session, running.pid());
    assert_eq!(
        Proc::new(stat.ppid).unwrap().name().as_deref(),
        Some("keeper")
    );
    assert_eq!(process.environ().len(), 1);
    assert_eq!(process.status().umask, Some(0o022));
}

#[test]
fn the_keeper_adopts_and_tells_how_it_ended() {
    let scene = Scene::new();
    let started = script(
        &scene,
        "(trap 'exit 7' TERM; echo ready >&2; sleep 1000 & wait) & exit 0",
    )
    .run();
    assert!(!started.pipes_closed);
    assert!(failure(|| _ = started.assert_ready()).contains("pipes_closed: false"));
    scene.wait_until("both", || scene.processes().len() == 2);
    assert!(failure(|| drop(scene.daemon())).contains("sleep"));
    let processes = scene.processes();
    let shell = processes
        .iter()
        .find(|process| process.name().as_deref() == Some("sh"))
        .unwrap();
    shell.signal(libc::SIGTERM);
    assert_eq!(scene.exit_status(shell).code(), Some(7));
    let daemon = scene.daemon();
    daemon.signal(34);
    assert_eq!(scene.exit_status(&daemon).signal(), Some(34));
    daemon.wait_gone(PATIENCE);
    scene.assert_no_leftovers();
}

#[test]
fn orphans_can_be_left_unreaped() {
    let scene = Scene::new();
    scene.reap_orphans(false);
    script(&scene, "sleep 1000 >/dev/null 2>&1 & exit 0")
        .run()
        .assert_ready();
    let daemon = scene.daemon();
    daemon.kill();
    daemon.wait_gone(PATIENCE);
    assert_eq!(
        Proc::new(daemon.pid()).map(|zombie| zombie.stat().state),
        Some('Z')
    );
    scene.reap_orphans(true);
    scene.wait_until("the zombie's end", || Proc::new(daemon.pid()).is_none());
}

#[test]
fn leftovers_are_found() {
    let scene = Scene::new();
    scene.file("service.pid", "garbage");
    scene.assert_no_leftovers();
    scene.file("service.pid", "999999999\n");
    scene.assert_no_leftovers();
    scene.file("service.pid", "1\n");
    assert!(failure(|| scene.assert_no_leftovers()).contains("the pidfile names 1"));
    script(&scene, "sleep 1000 & exit 0").run();
    assert!(failure(|| scene.assert_no_leftovers()).contains("sleep 1000"));
}

#[test]
fn locks_are_found() {
    require!(tool("flock"));
    let scene = Scene::new();
    let path = scene.file("service.pid", "");
    let running = scene
        .launch("/usr/bin/flock")
        .arg("-n")
        .arg(&path)
        .args(["sleep", "1000"])
        .spawn();
    scene.wait_until("the lock", || scene.lock_holders(&path) == [running.pid()]);
    assert!(failure(|| scene.assert_no_leftovers()).contains("is locked by"));
    let (_, descriptor) = running.process().descriptor_of(&path).unwrap();
    assert_eq!(descriptor.locks.len(), 1);
    assert_eq!(descriptor.access(), libc::O_RDONLY);
}

#[test]
fn a_start_that_hangs_fails_with_a_picture() {
    let scene = Scene::new();
    let launch = script(&scene, "echo far >&2; sleep 1000; true").limit(Duration::from_millis(300));
    let text = failure(|| drop(launch.run()));
    assert!(
        text.contains("sleep 1000") && text.contains("stderr: far") && text.contains("wchan"),
        "{text}"
    );
}

#[test]
fn descriptors_low_high_many_and_closed() {
    let scene = Scene::new();
    let file = scene.file("file", "");
    let numbers = || (3..40).chain(5000..8000).chain([19_999]);
    let running = sleeper(&scene, |launch| {
        launch
            .descriptors(numbers())
            .descriptor(50, &file)
            .stdin(Stdio::Closed)
            .stderr(Stdio::Closed)
    });
    let found = running.process().descriptors();
    let wanted: BTreeSet<i32> = numbers().chain([1, 50]).collect();
    assert_eq!(found.keys().copied().collect::<BTreeSet<_>>(), wanted);
    assert!(found.values().all(|descriptor| !descriptor.cloexec()));
    assert_eq!(found[&50].target, file);
}

#[test]
fn stdio_to_files_and_pipes() {
    let scene = Scene::new();
    let file = Stdio::File(scene.file("log", "before\n"));
    let mut running = scene
        .launch("/bin/cat")
        .stdin(Stdio::Pipe)
        .stdout(file)
        .spawn();
    running.stdin().unwrap().write_all(b"line\n").unwrap();
    running.wait().assert_ready();
    assert_eq!(
        fs::read_to_string(scene.path("log")).unwrap(),
        "before\nline\n"
    );
}

#[test]
fn signals_ignored_and_blocked() {
    let scene = Scene::new();
    let all: Vec<i32> = (1..=64)
        .filter(|signal| ALL_SIGNALS >> (signal - 1) & 1 == 1)
        .collect();
    assert_eq!(all.len(), 62);
    let process = sleeper(&scene, |launch| launch.ignoring_all().blocking_all()).process();
    assert_eq!((process.ignored(), process.blocked()), (all.clone(), all));
    let process = sleeper(&scene, |launch| {
        launch.ignoring([1, 33, 64]).blocking([2, 32])
    })
    .process();
    assert_eq!(
        (process.ignored(), process.blocked()),
        (vec![1, 33, 64], vec![2, 32])
    );
}

#[test]
fn environment_to_the_byte() {
    let scene = Scene::new();
    let entries = [
        b"A=1".to_vec(),
        b"no equals".to_vec(),
        b"\xff=\xfe".to_vec(),
        b"A=2".to_vec(),
    ];
    let process = sleeper(&scene, |launch| {
        launch
            .env_clear()
            .raw_env(entries.clone())
            .env("B", "hunter2")
    })
    .process();
    let wanted: Vec<_> = entries
        .into_iter()
        .chain([b"B=hunter2".to_vec()])
        .map(OsString::from_vec)
        .collect();
    assert_eq!(process.environ(), wanted);
    assert!(process.memory_contains(b"B=hunter2") && !process.memory_contains(b"B=hunter3"));
    let many = (0..5000).map(|number| format!("N{number}=x"));
    assert_eq!(
        sleeper(&scene, |launch| launch.raw_env(many))
            .process()
            .environ()
            .len(),
        5001
    );
}

#[test]
fn limits_directory_umask_session_and_name() {
    let scene = Scene::new();
    let dir = scene.dir("here", 0o755, None);
    let running = sleeper(&scene, |launch| {
        launch
            .current_dir(&dir)
            .umask(0o077)
            .new_session()
            .nice(7)
            .oom_score_adj(500)
            .arg0("other")
            .rlimit(Resource::RLIMIT_NOFILE, 100, 200)
    });
    let (process, stat) = (running.process(), running.process().stat());
    assert_eq!((process.cwd(), process.status().umask), (dir, Some(0o077)));
    assert_eq!((stat.session, stat.nice), (running.pid(), 7));
    assert_eq!(process.arguments(), ["other", "1000"]);
    let read = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", process.pid())).unwrap();
    assert_eq!(read("oom_score_adj"), "500\n");
    assert!(read("limits").lines().any(|line| {
        line.split_whitespace()
            .eq(["Max", "open", "files", "100", "200", "files"])
    }));
    let in_script = sleeper(&scene, Launch::in_script).process().stat();
    assert_eq!(in_script.pgrp, in_script.ppid);
}

#[test]
fn identity_and_capabilities() {
    require!(root());
    let scene = Scene::new();
    let status = sleeper(&scene, |launch| {
        launch
            .groups([5, 4, 4242])
            .bounding_without([CAP_SYS_ADMIN])
    })
    .process()
    .status();
    assert_eq!((status.euid, status.groups), (0, vec![4, 5, 4242]));
    assert_eq!(
        (status.capbnd.unwrap() | status.capprm) >> CAP_SYS_ADMIN & 1,
        0
    );
    let status = sleeper(&scene, |launch| launch.ordinary(4711))
        .process()
        .status();
    assert_eq!(
        [status.ruid, status.euid, status.suid, status.fuid],
        [4711; 4]
    );
    assert_eq!(
        [status.rgid, status.egid, status.sgid, status.fgid],
        [4711; 4]
    );
    assert_eq!(
        (
            status.groups.len(),
            status.capprm | status.capeff | status.capinh
        ),
        (0, 0)
    );
    let status = sleeper(&scene, |launch| {
        launch
            .ordinary(4711)
            .ambient([CAP_NET_BIND_SERVICE])
            .inheritable([CAP_SYS_ADMIN])
            .securebits(0x4)
            .no_new_privs()
    });
    let status = status.process().status();
    let bind = 1 << CAP_NET_BIND_SERVICE;
    assert_eq!(
        (status.capamb, status.capeff, status.capprm),
        (Some(bind), bind, bind)
    );
    assert_eq!(
        (status.capinh, status.nonewprivs),
        (bind | 1 << CAP_SYS_ADMIN, Some(1))
    );
}

#[test]
fn without_proc() {
    require!(root());
    let scene = Scene::new();
    let started = script(&scene, "test -e /proc/self && echo there; ls /proc; exit 3")
        .without_proc()
        .run();
    started.assert_exited(3);
    assert_eq!(started.stdout, "");
    assert!(Path::new("/proc/self").exists());
}

#[test]
fn system_calls_denied() {
    require!(root());
    let scene = Scene::new();
    let launch = scene
        .launch("/bin/ln")
        .arg("-s")
        .arg("target")
        .arg(scene.path("new"));
    let started = launch.denying(libc::SYS_symlinkat, libc::EDQUOT).run();
    started
        .assert_exited(1)
        .assert_says(&["Disk quota exceeded"]);
}

#[test]
fn faults_injected_by_strace() {
    require!(tool("strace"));
    let scene = Scene::new();
    let launch = script(&scene, "sleep 1000 >/dev/null 2>&1 & mkdir new; exit 3");
    let started = launch
        .strace("strace.log", &["-e", "inject=/^mkdir(at)?$:error=EDQUOT"])
        .run();
    started
        .assert_exited(3)
        .assert_says(&["Disk quota exceeded"]);
    assert!(started.elapsed < Duration::from_secs(10));
    let daemon = scene.daemon();
    daemon.kill();
    assert_eq!(scene.exit_status(&daemon).signal(), Some(libc::SIGKILL));
    scene.assert_no_leftovers();
    assert!(
        fs::read_to_string(scene.path("strace.log"))
            .unwrap()
            .contains("INJECTED")
    );
}

#[test]
fn a_terminal_is_there() {
    let scene = Scene::new();
    let launch = script(
        &scene,
        "trap 'echo caught; exit 5' INT; echo hello >/dev/tty; while :; do sleep 0.01; done",
    );
    let running = launch.on_terminal().spawn();
    scene.terminal().wait_for("hello\r\n");
    let stat = running.process().stat();
    assert!(stat.tty_nr != 0 && stat.tpgid == running.pid() && stat.pgrp == running.pid());
    assert_eq!(
        running.process().descriptors()[&2].target,
        scene.terminal().path()
    );
    scene.terminal().typed("\x03");
    running.wait().assert_exited(5);
    scene.terminal().wait_for("caught");
    // The shell has its terminal back, and gives it to the next job.
    script(&scene, "read line; test \"$line\" = text")
        .on_terminal()
        .spawn();
    scene.terminal().typed("text\n");
    scene.wait_until("the end of the job", || scene.processes().is_empty());
}

#[test]
fn a_terminal_that_is_stopped_blocks_who_writes() {
    let scene = Scene::new();
    scene.terminal().stop();
    let running = script(&scene, "echo hello; echo done >&2")
        .on_terminal()
        .stderr(Stdio::Pipe)
        .spawn();
    thread::sleep(Duration::from_millis(100));
    assert!(
        running.is_running()
            && running.stderr().is_empty()
            && !scene.terminal().shown().contains("hello")
    );
    scene.terminal().resume();
    running.wait().assert_ready();
    scene.terminal().wait_for("hello");
}

#[test]
fn a_terminal_that_is_hung_up_ends_its_jobs() {
    let scene = Scene::new();
    let running = sleeper(&scene, Launch::on_terminal);
    scene.terminal().hang_up();
    running.wait().assert_killed(libc::SIGHUP);
}

#[test]
fn a_gate_lets_all_pass_at_once() {
    let scene = Scene::new();
    let mut gate = scene.gate("gate");
    let all: Vec<_> = (0..20)
        .map(|_| script(&scene, "echo passed").behind(&gate).spawn())
        .collect();
    assert!(
        all.iter()
            .all(|running| running.is_running() && running.stdout().is_empty())
    );
    gate.open();
    assert!(
        all.into_iter()
            .all(|running| running.wait().assert_ready().stdout == "passed\n")
    );
}

#[test]
fn hostile_surroundings() {
    let scene = Scene::new();
    let process = sleeper(&scene, Launch::hostile).process();
    assert!(process.descriptors().len() > 1000 && process.environ().len() > 2000);
    assert_eq!((process.ignored().len(), process.blocked().len()), (62, 62));
    assert!(
        process
            .environ_bytes()
            .windows(7)
            .any(|bytes| bytes == b"hunter2")
    );
}

/// Processes that are hard to be rid of: deaf, in other sessions, stopped, orphans, forking all the
/// time.
fn stubborn(scene: &Scene) {
    script(scene, "setsid sh -c 'sleep 1000 & sleep 1000' & exit 0")
        .ignoring_all()
        .run();
    script(scene, "setsid sh -c 'kill -STOP $$' & exit 0").run();
    script(
        scene,
        "setsid sh -c 'while :; do (sleep 0.1 &); sleep 0.02; done' & exit 0",
    )
    .run();
    scene.wait_until("all", || scene.processes().len() >= 5);
}

#[test]
fn nothing_outlives_a_scene() {
    let scene = Scene::new();
    stubborn(&scene);
    let processes = scene.processes();
    let directory = scene.path("");
    drop(scene);
    assert!(processes.iter().all(Proc::is_gone));
    assert!(!directory.exists());
}

/// Not a test: the process that `nothing_outlives_a_killed_test` kills.
#[test]
#[ignore = "run by another test"]
fn victim() {
    let Some(file) = env::var_os("VICTIM_REPORTS_TO").map(PathBuf::from) else {
        return;
    };
    let scene = Scene::new();
    stubborn(&scene);
    let keeper = scene.processes()[0].stat().session;
    let pids: Vec<_> = scene
        .processes()
        .iter()
        .map(|process| process.pid().to_string())
        .collect();
    let report = format!("{}\n{keeper} {}", scene.path("").display(), pids.join(" "));
    fs::write(file.with_extension("new"), report).unwrap();
    fs::rename(file.with_extension("new"), file).unwrap();
    thread::sleep(Duration::from_mins(1));
}

#[test]
fn nothing_outlives_a_killed_test() {
    let scene = Scene::new();
    let file = scene.path("report");
    let mut test = Command::new(env::current_exe().unwrap())
        .args(["victim", "--exact", "--ignored"])
        .env("VICTIM_REPORTS_TO", &file)
        .stdout(Std::null())
        .spawn()
        .unwrap();
    scene.wait_until("the victim's report", || file.exists());
    let report = fs::read_to_string(&file).unwrap();
    let (directory, pids) = report.split_once('\n').unwrap();
    let processes: Vec<_> = pids
        .split(' ')
        .filter_map(|pid| Proc::new(pid.parse().unwrap()))
        .collect();
    assert!(processes.len() >= 4 && Path::new(directory).exists());
    test.kill().unwrap();
    test.wait().unwrap();
    let killed = Instant::now();
    scene.wait_until("the end of all", || {
        processes.iter().all(Proc::is_gone) && !Path::new(directory).exists()
    });
    assert!(killed.elapsed() < Duration::from_secs(5));
}

/// Not a test: is skipped, for `skipping_is_seen`.
#[test]
#[ignore = "run by another test"]
fn skipped() {
    require!(tool("no-such-tool"));
    unreachable!("it should have been skipped");
}

#[test]
fn skipping_is_seen() {
    let scene = Scene::new();
    let run = |strict: &str| {
        Command::new(env::current_exe().unwrap())
            .args(["skipped", "--exact", "--ignored"])
            .env("DAEMON_TESTS_SKIPPED", scene.path("skipped"))
            .env("DAEMON_TESTS_STRICT", strict)
            .output()
            .unwrap()
    };
    let output = run("0");
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "SKIPPED: skipped: needs no-such-tool\n"
    );
    assert_eq!(
        fs::read_to_string(scene.path("skipped")).unwrap(),
        "SKIPPED: skipped: needs no-such-tool\n"
    );
    assert!(!run("1").status.success());
}
