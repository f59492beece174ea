//! What a command has done is said in one line; and the one that says nothing, `kill`.

use std::fs;

use daemon_harness::{Scene, bin};
use daemon_tests::ctl::Ctl;

#[test]
fn h5_each_command_says_what_it_has_done() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene).with("reloads", "");
    let done = |line: &str| {
        let done = ctl.run(line);
        assert_eq!(done.assert_exited(0).stderr, "", "{line}");
        done.stdout
    };
    let pid = || scene.daemon().pid();
    assert_eq!(done("start"), format!("ctl started: pid {}\n", pid()));
    assert_eq!(done("restart"), format!("ctl restarted: pid {}\n", pid()));
    assert_eq!(done("reload"), "ctl reloaded\n");
    let last = pid();
    assert_eq!(done("stop"), format!("ctl stopped: pid {last}\n"));
    assert_eq!(done("restart"), format!("ctl started: pid {}\n", pid()));
    // This one takes no socket from the library, and is stopped first.
    let alone = ctl.with("alone", scene.path("address"));
    let said = alone.succeeds("restart");
    assert_eq!(said, format!("ctl restarted: pid {}\n", pid()));
}

#[test]
fn h5_quiet_commands_and_a_bare_call_say_nothing() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene).with("reloads", "");
    for line in [
        "",
        "restart --quiet",
        "reload --quiet",
        "stop --quiet",
        "stop -q",
        "start --quiet",
    ] {
        let done = ctl.run(line);
        done.assert_exited(0);
        assert_eq!((&*done.stdout, &*done.stderr), ("", ""), "{line}");
    }
    ctl.run("start --quiet")
        .assert_exited(80)
        .assert_says(&["already running"]);
}

#[test]
fn h5_a_start_that_leaves_the_service_to_another_says_so() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene).with("waits", "");
    let daemon = ctl.start();
    assert_eq!(ctl.succeeds("start"), "ctl is already running\n");
    assert_eq!(ctl.succeeds(""), "");
    assert_eq!(scene.daemon().pid(), daemon.pid());
}

#[test]
fn nobody_reads_the_outcome() {
    let scene = Scene::new();
    let full = || daemon_harness::Stdio::File("/dev/full".into());
    let ctl = Ctl::new(&scene);
    for command in ["start", "restart", "stop"] {
        ctl.command(command).stdout(full()).run().assert_exited(0);
    }
}

#[test]
fn kill_knows_signals_by_name_and_number() {
    let scene = Scene::new();
    let hangups = scene.path("hangups");
    let ctl = Ctl::new(&scene).with("hangup", &hangups);
    ctl.run("kill HUP")
        .assert_exited(1)
        .assert_says(&["cannot send a signal: it is not running"]);
    let daemon = ctl.start();
    let mut heard = String::new();
    for signal in ["HUP", "SIGHUP", "hup", "sighup", "1", "-1", "-HUP"] {
        assert_eq!(ctl.succeeds(&format!("kill {signal}")), "");
        heard.push_str("hung up\n");
        scene.wait_until("the signal", || {
            fs::read_to_string(&hangups).is_ok_and(|text| text == heard)
        });
    }
    // A real-time signal ends it, for it has no handler.
    ctl.succeeds("kill 34");
    let ended = scene.exit_status(&daemon);
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&ended),
        Some(34)
    );
}

#[test]
fn h1_kill_needs_no_configuration() {
    let scene = Scene::new();
    let config = scene.file("config", "note=hello");
    let own = |command: &str| {
        let launch = scene
            .launch(bin("embedded"))
            .arg("--pidfile")
            .arg(scene.pidfile());
        let launch = launch.arg("--config").arg(&config);
        launch.args(command.split_whitespace()).run()
    };
    own("start").assert_ready();
    let daemon = scene.daemon();
    fs::write(&config, "broken").unwrap();
    own("kill TERM")
        .assert_exited(0)
        .assert_says(&["cannot configure"]);
    assert!(scene.exit_status(&daemon).success());
}
