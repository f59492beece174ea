//! `daemonize-tests/tests/tests.rs`, and the settings that its `Tester` has and no test uses.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;

use daemon_harness::{Scene, bin, require};
use daemon_tests::svc::{barrier, ready_daemon, refused, service, started};

use super::at_work;

const STDOUT_DATA: &str = "stdout data";
const STDERR_DATA: &str = "stderr data";

#[test]
fn simple() {
    let scene = Scene::new();
    scene.launch(bin("svc")).run().assert_ready();
}

#[test]
fn chdir() {
    for (directory, expected) in [(None, "/"), (Some("/usr"), "/usr")] {
        let scene = Scene::new();
        let mut launch = scene.launch(bin("svc")).current_dir(scene.path(""));
        if let Some(directory) = directory {
            launch = launch.set("working_directory", directory);
        }
        assert_eq!(started(launch, &scene).cwd().to_str(), Some(expected));
    }
}

#[test]
fn umask() {
    let scene = Scene::new();
    let file = scene.path("umask-test");
    let launch = service(&scene).set("umask", "222");
    at_work(&scene, launch.set("main:write", &file));
    assert!(fs::metadata(file).unwrap().permissions().readonly());
}

/// Theirs is 0o027 where none is given.
#[test]
fn umask_by_default() {
    let scene = Scene::new();
    let daemon = started(service(&scene), &scene);
    assert_eq!(daemon.status().umask, Some(0));
}

#[test]
fn pid() {
    let scene = Scene::new();
    let daemon = started(service(&scene), &scene);
    let text = fs::read_to_string(scene.pidfile()).unwrap();
    assert_eq!(text, format!("{}\n", daemon.pid()));

    service(&scene).run().assert_exited(80);
    assert_eq!(fs::read_to_string(scene.pidfile()).unwrap(), text);
}

#[test]
fn redirect_stream() {
    for (stdout, stderr) in [(true, true), (true, false), (false, true)] {
        let scene = Scene::new();
        let [out, err] = ["stdout", "stderr"].map(|name| scene.path(name));
        let mut launch = scene.launch(bin("svc"));
        for (name, path, given) in [("stdout", &out, stdout), ("stderr", &err, stderr)] {
            if given {
                launch = launch.set(name, path);
            }
        }
        let launch = launch.set("main:print", STDOUT_DATA);
        let daemon = at_work(&scene, launch.set("main:eprintln", STDERR_DATA));
        scene.stop(&daemon); // What is printed without a newline is written at the end.
        let written = |path| fs::read_to_string(path).ok();
        let expected = |given, text: &str| if given { Some(text.to_owned()) } else { None };
        assert_eq!(written(out), expected(stdout, STDOUT_DATA));
        assert_eq!(written(err), expected(stderr, &format!("{STDERR_DATA}\n")));
    }
}

/// Theirs are opened by the caller, who usually truncates them.
#[test]
fn a_stream_is_appended_to() {
    let scene = Scene::new();
    let log = scene.file("log", "before\n");
    let launch = scene.launch(bin("svc")).set("stderr", &log);
    at_work(&scene, launch.arg("main:eprintln=after"));
    assert_eq!(fs::read_to_string(log).unwrap(), "before\nafter\n");
}

/// Theirs may be a FIFO, which whoever opens it waits at. Here the setting refuses one.
#[test]
fn a_stream_that_is_a_fifo() {
    let scene = Scene::new();
    let fifo = barrier(&scene, "fifo");
    refused(service(&scene).set("stderr", &fifo), &scene, 89, &["fifo"]);

    let launch = service(&scene).set("init:stderr_to", &fifo);
    let launch = launch.args(["main:eprintln=in main", "main:shutdown"]);
    let daemon = started(launch, &scene);
    assert_eq!(daemon.descriptors()[&2].target, fifo);
    let mut line = String::new();
    let reader = fs::File::open(fifo).unwrap();
    BufReader::new(reader).read_line(&mut line).unwrap();
    assert_eq!(line, "in main\n");
}

/// `user_string`, `user_num`, `group_string` and `group_num`; with them go root's other groups,
/// which daemonize keeps.
#[test]
fn users_and_groups() {
    require!(root());
    let cases = [
        (["user=nobody", "group=daemon"], (65534, 1)),
        (["uid=65534", "group=2"], (65534, 2)),
    ];
    for (settings, expected) in cases {
        let scene = Scene::new();
        let launch = service(&scene).groups([0, 4]).args(settings);
        let status = started(launch, &scene).status();
        assert_eq!((status.euid, status.egid), expected);
        assert!(!status.groups.contains(&0) && !status.groups.contains(&4));
    }
}

/// The working directory is inside; theirs is entered before, and stays outside.
#[test]
fn chroot() {
    require!(root());
    let scene = Scene::new();
    let root = scene.dir("root", 0o755, None);
    let daemon = started(service(&scene).set("chroot", &root), &scene);
    assert_eq!((daemon.root(), daemon.cwd()), (root.clone(), root));
}

/// `chown_pid_file`: not here. Whoever may write the pidfile decides whom root's `kill $(cat …)`
/// hits.
#[test]
fn the_pidfile_stays_roots() {
    require!(root());
    let scene = Scene::new();
    ready_daemon(&scene, service(&scene).set("user", "nobody"));
    let found = fs::metadata(scene.pidfile()).unwrap();
    assert_eq!((found.uid(), found.mode() & 0o777), (0, 0o600));
}

/// `execute`, where the parent goes on.
#[test]
fn the_parent_goes_on() {
    let scene = Scene::new();
    let launch = scene
        .launch(bin("launcher"))
        .set("pidfile", scene.pidfile());
    let launch = launch.arg("--").arg(bin("svc"));
    let parent = launch.set("pidfile", scene.pidfile()).run();
    parent.assert_ready();
    assert_eq!(parent.stdout, format!("{} first\n", scene.daemon().pid()));
}

#[test]
fn its_example() {
    require!(root());
    let scene = Scene::new();
    let starter = scene.launch(bin("ported")).arg(scene.path("")).run();
    starter.assert_ready();
    assert_eq!(starter.stdout, "Executed before master process exits\n");
    let daemon = scene.daemon();
    let pidfile = fs::read_to_string(scene.path("test.pid")).unwrap();
    assert_eq!(pidfile, format!("{}\n", daemon.pid()));
    let status = daemon.status();
    assert_eq!((status.euid, status.egid), (65534, 2));
    assert_eq!(status.umask, Some(0o777));
    assert_eq!(daemon.cwd(), fs::canonicalize(scene.path("")).unwrap());
    scene.stop(&daemon);
    let written = |name| fs::read_to_string(scene.path(name)).unwrap();
    assert_eq!(
        written("daemon.out"),
        "Success, daemonized\nExecuted before drop privileges\n"
    );
    assert_eq!(written("daemon.err"), "");
}
