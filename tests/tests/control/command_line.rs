//! The service's own command line.

use std::fs;
use std::path::Path;

use daemon_harness::{PATIENCE, Scene, bin, require};
use daemon_tests::ctl::Ctl;

const COMMANDS: [&str; 11] = [
    "start",
    "stop",
    "restart",
    "reload",
    "kill",
    "status",
    "check",
    "run",
    "unit",
    "completions",
    "man",
];

#[test]
fn a_bare_call_starts() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    ctl.run("").assert_ready();
    let pid = scene.daemon().pid();
    ctl.run("start")
        .assert_exited(80)
        .assert_says(&[&pid.to_string()]);
    ctl.run("").assert_exited(80);
    assert_eq!(scene.daemon().pid(), pid);
}

#[test]
fn help_names_every_command_and_starts_nothing() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    let help = ctl.succeeds("--help");
    assert!(
        help.starts_with("Start and control the service\n"),
        "{help}"
    );
    for command in COMMANDS {
        assert!(
            help.lines()
                .any(|line| line.trim_start().starts_with(command)),
            "{command} is missing: {help}"
        );
        let of_command = ctl.succeeds(&format!("{command} --help"));
        assert!(
            of_command.contains(&format!("Usage: ctl {command}")),
            "{of_command}"
        );
    }
    assert!(
        ctl.succeeds("stop --help")
            .contains("[default: 10s, or 5s more")
    );
    assert_eq!(ctl.succeeds("help"), help);
    assert_eq!(ctl.succeeds("help stop"), ctl.succeeds("stop --help"));
    assert_eq!(
        ctl.succeeds("--version"),
        format!("ctl {}\n", env!("CARGO_PKG_VERSION"))
    );
    scene.assert_no_leftovers();
}

#[test]
fn a_wrong_line_is_a_usage_error_and_changes_nothing() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    let wrong = [
        "begin",
        "start now",
        "stop --timeout soon",
        "stop --timeout -1s",
        "status --xml",
        "kill",
        "kill 0",
        "kill 65",
        "kill SIGNONSENSE",
        "unit",
        "--port 1",
    ];
    for line in wrong
        .into_iter()
        .chain(["unit upstart", "completions perl", "reload --timeout"])
    {
        let done = ctl.run(line);
        assert!(
            done.assert_exited(2).stdout.is_empty() && !done.stderr.is_empty(),
            "{line}: {done:?}"
        );
    }
    ctl.run("stopp").assert_exited(2).assert_says(&["stop"]);
    scene.assert_no_leftovers();
    assert!(!scene.pidfile().exists());
}

#[test]
fn run_stays_in_the_foreground() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    let running = ctl.command("run").spawn();
    scene.wait_until("the pidfile", || {
        scene.pid_in_pidfile() == Some(running.pid())
    });
    scene.wait_until("readiness", || {
        ctl.run("reload").stderr.contains("does not reload")
    });
    ctl.succeeds("status");
    ctl.run("start").assert_exited(80);
    ctl.succeeds("stop");
    running.wait().assert_exited(0);
    assert!(!scene.pidfile().exists() && !ctl.socket().exists());
}

#[test]
fn the_completions_are_the_shells_own() {
    require!(tool("bash"));
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = ctl.succeeds(&format!("completions {shell}"));
        assert!(
            COMMANDS.iter().all(|command| script.contains(command)),
            "{script}"
        );
    }
    let script = scene.file("completions", ctl.succeeds("completions bash"));
    let ask =
        r#". "$1"; COMP_WORDS=(ctl re); COMP_CWORD=1; _ctl ctl re ctl; echo "${COMPREPLY[@]}""#;
    let done = scene
        .launch("/bin/bash")
        .args(["--norc", "-c", ask, "bash"])
        .arg(script)
        .run();
    assert_eq!(done.assert_exited(0).stdout, "restart reload\n");
}

/// groff's complaints are witness that it is a page.
#[test]
fn the_manual_page_has_every_command() {
    let scene = Scene::new();
    let page = Ctl::new(&scene).succeeds("man");
    assert!(page.contains(".TH ctl 8"), "{page}");
    for command in COMMANDS {
        assert!(page.contains(&format!("\n.SS {command}\n")), "{page}");
    }
    require!(tool("groff"));
    let shown = formatted(&scene, &scene.file("ctl.8", page));
    for text in ["EXIT STATUS", "ctl kill <SIGNAL>", "[default: 10s,"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
}

/// What is common to all services. The README lists the statuses, in order.
#[test]
fn the_manual_page_of_the_library_has_every_status() {
    require!(tool("groff"));
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let readme = fs::read_to_string(project.join("README.md")).unwrap();
    let shown = formatted(&Scene::new(), &project.join("docs/daemon-rt.7"));
    let (_, statuses) = readme.split_once("### Exit statuses\n\n0 ready").unwrap();
    let (statuses, _) = statuses.split_once("· [all]").unwrap();
    for status in statuses.split('·').skip(1) {
        let number = status.trim().split(' ').next().unwrap();
        assert!(
            shown.contains(&format!("\n       {number} ")),
            "{status}: {shown}"
        );
    }
}

/// A manual page as text, of which groff has nothing to say.
fn formatted(scene: &Scene, page: &Path) -> String {
    let shown = scene
        .launch("/usr/bin/groff")
        .args(["-man", "-ww", "-Tutf8", "-P-cbou"])
        .arg(page)
        .run();
    assert_eq!(shown.assert_exited(0).stderr, "");
    shown.stdout
}

#[test]
fn a_unit_is_printed_and_nothing_started() {
    let scene = Scene::new();
    let unit = Ctl::new(&scene).succeeds("unit systemd");
    assert!(
        unit.contains("[Service]") && unit.contains("ExecStart="),
        "{unit}"
    );
    scene.assert_no_leftovers();
}

/// Pipes and the terminal are the caller's again when a command is over.
#[test]
fn commands_leave_no_process() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    let pid = ctl.start().pid();
    for command in ["status", "reload", "start", "--help"] {
        assert!(ctl.run(command).pipes_closed);
        assert_eq!(scene.daemon().pid(), pid);
    }
}

/// A service with arguments of its own has the commands among them.
#[test]
fn a_parser_of_the_services_own_has_the_commands() {
    let scene = Scene::new();
    let own = |line: &str| {
        let launch = scene
            .launch(bin("embedded"))
            .arg("--pidfile")
            .arg(scene.pidfile());
        launch.args(line.split_whitespace()).run()
    };
    own("status").assert_exited(3);
    own("--note hello start").assert_ready();
    let daemon = scene.daemon();
    own("status").assert_exited(0);
    own("--note hello").assert_exited(80);
    let told = own("status --json").stdout;
    let version = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(
        told.contains(&format!("\"pid\":{}", daemon.pid())) && told.contains(&version),
        "{told}"
    );
    let completions = own("completions bash").assert_exited(0).stdout.clone();
    assert!(completions.contains("_embedded") && completions.contains("--note"));
    let page = own("man").assert_exited(0).stdout.clone();
    assert!(page.contains(".TH embedded 8") && page.contains("What to keep"));
    own("restart").assert_ready();
    assert_ne!(scene.daemon().pid(), daemon.pid());
    own("--nonsense start").assert_exited(2);
    assert!(own("--help").assert_exited(0).stdout.contains("--note"));
    let stopped = own("stop --timeout 1m");
    assert!(stopped.assert_exited(0).elapsed < PATIENCE);
    own("").assert_ready();
    own("stop").assert_exited(0);
    scene.assert_no_leftovers();
}
