//! `status` shows the processes that older instances have left.

use daemon_harness::managers::{Machine, OpenRc, wait_until};
use daemon_harness::{Proc, Scene, bin, require};
use daemon_tests::ctl::{self, Ctl};
use serde_json::{Value, json};

/// The commands of the workers.
const COMMAND: &str = "/bin/sleep 1000";

/// The service, each instance of which starts a worker that outlives it.
fn working(scene: &Scene) -> Ctl<'_> {
    crate::answering(scene).with("worker", "/bin/sleep")
}

/// The worker of an instance.
fn worker(instance: &Proc) -> Proc {
    let mut workers = Proc::descendants(instance.pid());
    assert_eq!(workers.len(), 1);
    workers.remove(0)
}

/// What `status` shows of the instance that runs.
fn left(ctl: &Ctl<'_>) -> Value {
    let status = ctl.succeeds("status --json");
    let mut status: Value = serde_json::from_str(&status).expect("JSON");
    status["left"].take()
}

fn shown(workers: &[&Proc]) -> Value {
    let mut pids: Vec<i32> = workers.iter().map(|worker| worker.pid()).collect();
    pids.sort_unstable();
    let shown = pids
        .iter()
        .map(|pid| json!({"pid": pid, "command": COMMAND}));
    shown.collect()
}

/// Restarts the service, and waits for the end of the old instance.
fn restarted(scene: &Scene, ctl: &Ctl<'_>, old: &Proc) -> Proc {
    ctl.run("restart").assert_ready();
    old.wait_gone(daemon_harness::PATIENCE);
    let pid = scene.pid_in_pidfile().expect("a pid");
    Proc::new(pid).expect("the new instance")
}

#[test]
fn children_of_each_older_instance_are_left_after_hand_overs() {
    let scene = Scene::new();
    let ctl = working(&scene);
    ctl.run("start").assert_ready();
    let mut instance = Proc::new(scene.pid_in_pidfile().expect("a pid")).expect("it runs");
    assert_eq!(left(&ctl), Value::Null, "no evidence");

    let first = worker(&instance);
    instance = restarted(&scene, &ctl, &instance);
    assert_eq!(left(&ctl), shown(&[&first]));
    let second = worker(&instance);
    instance = restarted(&scene, &ctl, &instance);
    let third = worker(&instance);
    let mut workers = vec![&first, &second];
    // Their numbers may have wrapped around.
    let mut both = left(&ctl);
    both.as_array_mut()
        .expect("an array")
        .sort_by_key(|left| left["pid"].as_i64());
    assert_eq!(both, shown(&workers));
    let text = ctl.succeeds("status");
    for worker in &workers {
        let line = format!(
            "\nleft by an older instance: pid {} ({COMMAND})\n",
            worker.pid()
        );
        assert!(text.contains(&line), "{text}");
    }
    assert!(!text.contains(&format!("pid {} ", third.pid())), "{text}");

    first.kill();
    first.wait_gone(daemon_harness::PATIENCE);
    workers.remove(0);
    assert_eq!(left(&ctl), shown(&workers));
    second.kill();
    second.wait_gone(daemon_harness::PATIENCE);
    assert_eq!(left(&ctl), json!([]));

    ctl.succeeds("stop");
    ctl.run("start").assert_ready();
    assert_eq!(left(&ctl), Value::Null, "a stop leaves no trace");
    ctl.succeeds("stop");
}

#[test]
fn an_older_instance_that_still_runs_has_left_no_children() {
    let scene = Scene::new();
    let ctl = working(&scene).with("stubborn", "");
    ctl.run("start").assert_ready();
    let old = Proc::new(scene.pid_in_pidfile().expect("a pid")).expect("it runs");
    let worker = worker(&old);
    let restart = ctl.command("restart --timeout 1h").spawn();
    scene.wait_until("the hand-over", || {
        ctl.succeeds("status --json")
            .contains(&format!("\"old\":[{}]", old.pid()))
    });
    assert_eq!(left(&ctl), json!([]));
    old.kill();
    restart.wait().assert_ready();
    assert_eq!(left(&ctl), shown(&[&worker]));
    ctl.succeeds("stop --timeout 0s");
}

/// It has the session of the shell that has started it.
#[test]
fn an_upgrade_in_the_foreground_shows_no_stranger_of_its_session() {
    let scene = Scene::new();
    let upgrading = || scene.launch(bin("upgrading")).arg(scene.path(""));
    let old = upgrading()
        .env("DAEMON_MODE", "foreground")
        .new_session()
        .spawn();
    let control = daemon_rt::control::Control::new(scene.pidfile());
    scene.wait_until("readiness", || {
        matches!(
            control.status(),
            Ok(daemon_rt::control::Status::Running { .. })
        )
    });
    let old_pid = scene.pid_in_pidfile();
    assert_eq!(old_pid, Some(old.process().pid()));
    upgrading().arg("--upgrade").run().assert_ready();
    // Asked by another service's commands.
    assert_eq!(left(&Ctl::new(&scene)), Value::Null);
    old.process().kill();
}

const UNIT: &str = "[Service]
Type=notify
KillMode=process
Environment='CTL=pidfile=/run/ctl.pid listen=/run/ctl.address worker=/bin/sleep'
ExecStart=/usr/local/bin/ctl run
";
const FORKING: &str = "[Service]
Type=forking
PIDFile=/run/ctl.pid
Environment='CTL=pidfile=/run/ctl.pid listen=/run/ctl.address worker=/bin/sleep stdout=/var/log/ctl.log log_size=10000'
ExecStart=/usr/local/bin/ctl start
ExecReload=/usr/local/bin/ctl restart
";

/// What `status` shows in a machine.
fn left_in(machine: &Machine) -> Value {
    let status = machine.sh("CTL=pidfile=/run/ctl.pid ctl status --json");
    let mut status: Value = serde_json::from_str(&status.expect_success()).expect("JSON");
    status["left"].take()
}

/// The one worker there.
fn worker_in(machine: &Machine) -> u32 {
    let [worker] = machine.pids("sleep")[..] else {
        panic!("one worker: {:?}", machine.pids("sleep"))
    };
    worker
}

fn shown_in(worker: u32) -> Value {
    json!([{"pid": worker, "command": COMMAND}])
}

/// The control group tells, whatever ended the instance.
#[test]
fn under_systemd_a_process_of_the_unit_that_is_older_than_its_main_process_is_left() {
    require!(machine());
    let machine = crate::under_systemd(UNIT);
    assert_eq!(left_in(&machine), json!([]));
    let first = worker_in(&machine);
    machine.systemctl(["restart", "ctl"]).expect_success();
    assert_eq!(machine.pids("sleep").len(), 2);
    assert_eq!(left_in(&machine), shown_in(first));
    machine.systemctl(["stop", "ctl"]).expect_success();
    machine.sh("pkill sleep").expect_success();
    wait_until("their end", || {
        machine.pids("sleep").is_empty().then_some(())
    });

    machine.rewrite("ctl.service", FORKING);
    machine.systemctl(["start", "ctl"]).expect_success();
    assert_eq!(left_in(&machine), json!([]));
    let first = worker_in(&machine);
    machine.systemctl(["reload", "ctl"]).expect_success();
    wait_until("the end of the old one", || {
        (machine.pids("ctl").len() == 1).then_some(())
    });
    // The worker of the old one writes to its log.
    assert_eq!(machine.pids("log-writer").len(), 2);
    assert_eq!(left_in(&machine), shown_in(first));
    machine.systemctl(["stop", "ctl"]).expect_success();
}

#[test]
fn under_openrc_the_control_group_tells() {
    require!(machine(), tool("openrc-init"));
    let script = "#!/sbin/openrc-run
pidfile=/run/ctl.pid
command=/usr/local/bin/ctl
command_args=start
export CTL='pidfile=/run/ctl.pid worker=/bin/sleep'
";
    let root = ctl::root()
        .text("/etc/rc.conf", "rc_cgroup_mode=unified\n")
        .script("/etc/init.d/ctl", script);
    let machine = OpenRc::boot(root);
    machine.rc_service("ctl", "start").expect_success();
    assert_eq!(left_in(&machine), json!([]));
    let first = worker_in(&machine);
    machine.rc_service("ctl", "stop").expect_success();
    machine.rc_service("ctl", "start").expect_success();
    assert_eq!(left_in(&machine), shown_in(first));
}
