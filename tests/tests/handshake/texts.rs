//! E06 and E08: what a failed start says, whole or visibly cut; and nothing is said twice.

use std::fs;

use daemon_harness::{Scene, Started, Stdio};
use daemon_tests::svc::status_of;

use crate::{failed, only_line, service};

const HOOKS: [&str; 3] = ["configure", "privileged_init", "init"];

/// A start in which this hook does that.
fn start(scene: &Scene, hook: &str, action: &str) -> Started {
    service(scene).arg(format!("{hook}:{action}")).run()
}

/// What the message says was impossible.
fn verb(hook: &str) -> &str {
    if hook == "configure" {
        "configure"
    } else {
        "initialize"
    }
}

#[test]
fn e06_an_error_of_each_hook_is_one_message() {
    for hook in HOOKS {
        let scene = Scene::new();
        let started = start(&scene, hook, "err=the reason, in a word");
        failed(&scene, &started, status_of(hook));
        assert_eq!(
            only_line(&started),
            format!("svc: cannot {}: the reason, in a word", verb(hook))
        );
    }
}

#[test]
fn e06_the_whole_chain_of_sources_is_shown() {
    for hook in HOOKS {
        let scene = Scene::new();
        let started = start(&scene, hook, "chain=no listener|port 80|permission denied");
        failed(&scene, &started, status_of(hook));
        let chain = "no listener: port 80: permission denied";
        assert_eq!(
            only_line(&started),
            format!("svc: cannot {}: {chain}", verb(hook))
        );
    }
}

#[test]
fn e06_a_source_that_the_error_itself_shows_is_not_repeated() {
    let scene = Scene::new();
    let started = start(
        &scene,
        "init",
        "chain=port 80: permission denied|permission denied",
    );
    assert_eq!(
        only_line(&started),
        "svc: cannot initialize: port 80: permission denied"
    );
}

#[test]
fn e06_a_panic_of_each_hook_tells_where() {
    for hook in HOOKS {
        let scene = Scene::new();
        let started = start(&scene, hook, "panic=what a surprise");
        failed(&scene, &started, 101);
        let place = format!(
            "svc: cannot {}: `{hook}` panicked at tests/src/bin/svc.rs:",
            verb(hook)
        );
        // In `configure` the runtime's own report comes before it on the terminal.
        let said = started
            .stderr
            .lines()
            .filter(|line| line.starts_with("svc: "))
            .collect::<Vec<_>>();
        assert!(
            matches!(said[..], [line] if line.starts_with(&place) && line.ends_with(": what a surprise")),
            "{started:#?}"
        );
        assert!(
            hook == "configure" || started.stderr.lines().count() == 1,
            "{started:#?}"
        );
    }
}

#[test]
fn e06_a_panic_without_a_text() {
    for hook in HOOKS {
        let scene = Scene::new();
        let started = start(&scene, hook, "panic_any");
        failed(&scene, &started, 101);
        started.assert_says(&[&format!("`{hook}` panicked at tests/src/bin/svc.rs:")]);
    }
}

#[test]
fn e06_lines_arrive_as_they_are() {
    for (lines, hook) in [
        (1, "init"),
        (3, "privileged_init"),
        (200, "init"),
        (200, "configure"),
    ] {
        let scene = Scene::new();
        let started = start(&scene, hook, &format!("long_err={lines}"));
        failed(&scene, &started, status_of(hook));
        let whole = format!(
            "svc: cannot {}: {}",
            verb(hook),
            "line of an error\n".repeat(lines)
        );
        assert_eq!(started.stderr.trim_end(), whole.trim_end());
    }
}

#[test]
fn e06_a_text_that_is_too_long_is_visibly_cut() {
    const MARK: &str = "… [cut at 4000 bytes]\n";
    for text in [
        "x".repeat(20_000),
        "ä".repeat(9000),
        "€".repeat(5000),
        "line\n".repeat(6000),
        "💥".repeat(4000),
    ] {
        for ending in ["err", "panic"] {
            let scene = Scene::new();
            let started = start(&scene, "init", &format!("{ending}={text}"));
            failed(&scene, &started, if ending == "err" { 1 } else { 101 });
            let (said, _) = started
                .stderr
                .split_once(MARK)
                .unwrap_or_else(|| panic!("it is not marked: {started:?}"));
            let said = said.strip_prefix("svc: ").unwrap();
            assert!(started.stderr.ends_with(MARK));
            assert!(
                (3990..=4000).contains(&(said.len() + MARK.len() - 1)),
                "{} bytes",
                said.len()
            );
            let (_, said) = said.split_once(": ").unwrap();
            let said = said
                .rsplit_once(".rs:")
                .map_or(said, |(_, after)| after.split_once(": ").unwrap().1);
            assert!(text.starts_with(said), "{said}");
        }
    }
}

#[test]
fn e06_texts_about_as_long_as_the_limit() {
    let frame = "cannot initialize: ".len();
    for length in 3990 - frame..=4003 - frame {
        let scene = Scene::new();
        let text = "y".repeat(length);
        let started = start(&scene, "init", &format!("err={text}"));
        let whole = format!("svc: cannot initialize: {text}\n");
        assert_eq!(started.stderr == whole, length + frame <= 4000, "{length}");
        assert_eq!(
            started.stderr.ends_with("… [cut at 4000 bytes]\n"),
            length + frame > 4000,
            "{length}"
        );
    }
}

#[test]
fn e06_an_error_without_a_text_is_a_failure_all_the_same() {
    for hook in HOOKS {
        let scene = Scene::new();
        let started = start(&scene, hook, "err=");
        failed(&scene, &started, status_of(hook));
        assert!(only_line(&started).starts_with("svc: cannot "));
    }
}

#[test]
fn e06_the_failure_arrives_behind_any_amount_of_progress() {
    let scene = Scene::new();
    let progress = (0..2000).map(|number| format!("init:status={number} {}", "x".repeat(50)));
    let started = service(&scene)
        .args(progress)
        .arg("init:long_err=200")
        .run();
    failed(&scene, &started, 1);
    let whole = format!(
        "svc: cannot initialize: {}",
        "line of an error\n".repeat(200)
    );
    assert!(
        started.stderr.trim_end().ends_with(whole.trim_end()),
        "{started:?}"
    );
}

#[test]
fn e06_the_name_in_the_message_is_the_services() {
    let scene = Scene::new();
    let started = service(&scene)
        .set("name", "greeter")
        .arg("init:err=no")
        .run();
    assert_eq!(only_line(&started), "greeter: cannot initialize: no");
    // Before it is known, the program's.
    assert_eq!(
        only_line(&start(&scene, "configure", "err=no")),
        "svc: cannot configure: no"
    );
}

#[test]
fn e06_nobody_reads_the_message() {
    for stderr in [Stdio::Null, Stdio::Closed, Stdio::File("/dev/full".into())] {
        let scene = Scene::new();
        failed(
            &scene,
            &service(&scene).stderr(stderr).arg("init:err=no").run(),
            1,
        );
    }
}

#[test]
fn e08_buffered_text_is_printed_once() {
    for (ending, status) in [
        ("status=fine", 0),
        ("err=no", 1),
        ("panic=no", 101),
        ("exit=7", 7),
        ("exit=0", 96),
        ("kill=9", 137),
    ] {
        for hook in ["privileged_init", "init"] {
            let scene = Scene::new();
            let launch = service(&scene).arg("configure:print=half a line");
            let started = launch.arg(format!("{hook}:{ending}")).run();
            started.assert_exited(status);
            assert_eq!(started.stdout, "half a line", "{ending} in {hook}");
        }
    }
}

#[test]
fn e08_to_a_file_as_well() {
    let scene = Scene::new();
    let file = scene.path("output");
    let launch = service(&scene)
        .arg("configure:print=a line\nhalf a line")
        .stdout(Stdio::File(file.clone()));
    launch.run().assert_ready();
    crate::stop(&scene, &scene.daemon());
    assert_eq!(fs::read_to_string(file).unwrap(), "a line\nhalf a line");
}

#[test]
fn e08_where_configure_ends_the_start() {
    for (ending, status) in [
        ("err=no", 78),
        ("exit=0", 0),
        ("exit=7", 7),
        ("panic=no", 101),
    ] {
        let scene = Scene::new();
        let started = service(&scene)
            .arg("configure:print=usage")
            .arg(format!("configure:{ending}"))
            .run();
        failed(&scene, &started, status);
        assert_eq!(started.stdout, "usage", "{ending}");
    }
}

#[test]
fn e08_what_the_daemon_prints_goes_to_its_log_once() {
    let scene = Scene::new();
    let log = scene.path("log");
    let launch = service(&scene)
        .set("stdout", &log)
        .arg("configure:print=starter.");
    let launch = launch
        .arg("privileged_init:print=one.")
        .arg("init:print=two.");
    let started = launch.arg("main:print=three.").run();
    assert_eq!(started.assert_ready().stdout, "starter.");
    scene.wait_until("its end", || scene.processes().is_empty());
    assert_eq!(fs::read_to_string(&log).unwrap(), "one.two.three.");
}
