//! What a command was called for is written, or the command fails.

use daemon_harness::{Launch, Scene, Stdio, bin, require};
use daemon_tests::ctl::{Ctl, ORDINARY};
use serde_json::Value;

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    ctl.start();
    let commands = [
        ("unit systemd", 1),
        ("completions bash", 1),
        ("man", 1),
        ("--help", 1),
        ("help stop", 1),
        ("--version", 1),
        ("check", 1),
        ("status", 4),
        ("status --json", 4),
    ];
    for (line, status) in commands {
        let full = Stdio::File("/dev/full".into());
        let done = ctl.command(line).stdout(full).run();
        done.assert_exited(status)
            .assert_says(&["ctl: cannot write to standard output: No space left"]);
        assert_eq!(done.stderr.lines().count(), 1, "{line}: {done:?}");
        ctl.succeeds(line);
    }
    ctl.succeeds("stop");
}

/// `ctl unit systemd | head -1`, say.
#[test]
fn a_reader_that_is_gone_changes_no_status() {
    let scene = Scene::new();
    // The shell waits until the reader of the FIFO has come and gone.
    let script = r#"mkfifo "$0" && { sleep 0 <"$0" & } && exec 3>"$0" && wait && exec "$@" >&3"#;
    for (line, status) in [("unit systemd", 0), ("completions zsh", 0), ("status", 3)] {
        let fifo = scene.path(line.replace(' ', "-"));
        let launch = scene.launch("/bin/sh").args(["-c", script]).arg(fifo);
        let done = launch
            .arg(bin("ctl"))
            .args(line.split_whitespace())
            .env("CTL", format!("pidfile={}", scene.pidfile().display()))
            .run();
        assert_eq!(done.assert_exited(status).stderr, "", "{line}");
    }
}

/// Another user has made the directory of the bare `pidfile`, and may have a hand in it.
#[test]
fn commands_do_not_trust_a_usual_directory_of_another_user() {
    require!(root());
    let scene = Scene::new();
    let directory = format!("embedded-{ORDINARY}");
    scene.dir(directory, 0o755, Some(ORDINARY + 1));
    let command = |line: &str| -> Launch<'_> {
        scene
            .launch(bin("embedded"))
            .arg("--usual")
            .args(line.split_whitespace())
            .env("TMPDIR", scene.path(""))
            .ordinary(ORDINARY)
    };
    let reason = "is not this user's alone";
    let status = command("status").run();
    assert!(
        status.assert_exited(4).stdout.contains(reason),
        "{status:?}"
    );
    let status = command("status --json").run();
    let object: Value = serde_json::from_str(&status.assert_exited(4).stdout).unwrap();
    assert_eq!(object["state"], "unknown");
    assert!(object["reason"].as_str().unwrap().contains(reason));
    for line in ["stop", "kill TERM", "reload"] {
        command(line).run().assert_exited(1).assert_says(&[
            "embedded: cannot look the service up: embedded.pid: ",
            reason,
        ]);
    }
    scene.assert_no_leftovers();
}
