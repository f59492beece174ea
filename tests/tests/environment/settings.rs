//! Rule 12: a bad setting gets a clear error and changes nothing; and what settings mean that are
//! good.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use daemon_harness::{Launch, Scene, bin, require};

use daemon_tests::svc::{refused, started};
use nix::sys::resource::Resource;

use crate::service;

/// Each must be refused as wrong usage, and named, before anything is done.
#[test]
fn rule12_bad_settings_are_named_and_change_nothing() {
    let scene = Scene::new();
    let cases = [
        ("umask", "1777", "0o1777"),
        ("umask", "37777777777", "umask"),
        ("pidfile", r"/tmp/a\0b", "NUL"),
        ("working_directory", "", "working_directory"),
        ("working_directory", r"/\0", "NUL"),
        ("chroot", "", "chroot"),
        ("chroot", r"/\0", "NUL"),
        ("stdout", "", "stdout"),
        ("stderr", r"/tmp/log\0", "stderr"),
        ("name", "", "name"),
        ("name", "a/b", "name"),
        ("name", r"a\0b", "name"),
        ("name", "two\nlines", "name"),
        ("capabilities", "CAP_NONSENSE", "CAP_NONSENSE"),
        ("limits", "nofiles=7", "nofiles"),
        ("limits", "nofile", "nofile"),
        ("limits", "nofile=-1", "-1"),
        ("limits", "nofile=8:7", "soft"),
        ("nice", "20", "nice"),
        ("oom_score_adj", "-1001", "oom_score_adj"),
        ("keep_env", "A=B", "keep_env"),
        ("keep_env", "A*B", "keep_env"),
        ("keep_env", r"A\0B", "keep_env"),
    ];
    for (setting, value, word) in cases {
        let launch = service(&scene)
            .set("pidfile", scene.pidfile())
            .set("stderr", scene.path("log"));
        let launch = launch
            .set("privileged_init:write", scene.path("written"))
            .set(setting, value);
        refused(launch, &scene, 2, &["invalid setting", word]);
        let left: Vec<_> = fs::read_dir(scene.path(""))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(left.is_empty(), "{setting}={value} left {left:?}");
    }
}

#[test]
fn rule12_a_running_service_is_not_disturbed() {
    let scene = Scene::new();
    let daemon = started(service(&scene).set("pidfile", scene.pidfile()), &scene);
    service(&scene)
        .set("pidfile", scene.pidfile())
        .set("umask", "1000")
        .run()
        .assert_exited(2);
    assert_eq!(
        (scene.daemon().pid(), scene.pid_in_pidfile()),
        (daemon.pid(), Some(daemon.pid()))
    );
}

#[test]
fn rule12_the_foreground_is_no_more_lenient() {
    let scene = Scene::new();
    for (setting, value) in [
        ("umask", "1777"),
        ("chroot", ""),
        ("name", "a/b"),
        ("keep_env", "A=B"),
    ] {
        refused(
            service(&scene)
                .env("DAEMON_MODE", "foreground")
                .set(setting, value),
            &scene,
            2,
            &[setting],
        );
    }
}

#[test]
fn umasks() {
    for (given, found) in [("0", 0), ("22", 0o022), ("27", 0o027), ("777", 0o777)] {
        let scene = Scene::new();
        let written = scene.path("written");
        let launch = service(&scene)
            .umask(0o077)
            .set("umask", given)
            .set("init:write", &written);
        assert_eq!(started(launch, &scene).status().umask, Some(found));
        assert_eq!(
            fs::metadata(written).unwrap().mode() & 0o777,
            0o666 & !found
        );
    }
}

#[test]
fn the_umask_is_0_whatever_the_callers() {
    let scene = Scene::new();
    assert_eq!(
        started(service(&scene).umask(0o077), &scene).status().umask,
        Some(0)
    );
}

#[test]
fn working_directories() {
    let scene = Scene::new();
    let here = scene.dir("here", 0o755, None);
    let inside = scene.dir("here/inside", 0o755, None);
    let ends = |setting: Option<&str>| {
        let launch = service(&scene).current_dir(&here);
        let launch = setting
            .into_iter()
            .fold(launch, |launch, path| launch.set("working_directory", path));
        let daemon = started(launch, &scene);
        let cwd = daemon.cwd();
        daemon.kill();
        scene.exit_status(&daemon);
        cwd
    };
    assert_eq!(ends(None), scene.path("/"));
    assert_eq!(ends(Some(inside.to_str().unwrap())), inside);
    assert_eq!(ends(Some("inside")), inside, "E17: as the person meant it");
    assert_eq!(ends(Some("inside/..")), here);
    assert_eq!(ends(Some(".")), here);
}

#[test]
fn a_working_directory_that_is_none_fails_step_11() {
    let scene = Scene::new();
    let cases = [
        (scene.path("missing"), "No such file"),
        (scene.file("file", ""), "Not a directory"),
    ];
    for (path, why) in cases {
        let launch = service(&scene)
            .set("working_directory", &path)
            .set("init:write", scene.path("init"));
        refused(
            launch,
            &scene,
            91,
            &["change the working directory", path.to_str().unwrap(), why],
        );
        assert!(!scene.path("init").exists());
    }
}

#[test]
fn a_working_directory_that_may_not_be_entered_fails_step_11() {
    require!(root());
    let scene = Scene::new();
    let closed = scene.dir("closed", 0o700, None);
    let launch = service(&scene)
        .ordinary(4711)
        .set("working_directory", &closed);
    refused(launch, &scene, 91, &["Permission denied"]);
}

/// A limit of centuries is none; no limit at all would be unset.
#[test]
fn a_start_timeout_beyond_reckoning_is_no_fault() {
    for limit in ["max", "18446744073709551615", "9223372036854775807"] {
        let scene = Scene::new();
        started(
            service(&scene)
                .set("start_timeout", limit)
                .arg("init:sleep=20"),
            &scene,
        );
    }
}

#[test]
fn a_start_timeout_of_nothing_cannot_be_met() {
    let scene = Scene::new();
    refused(
        service(&scene)
            .set("start_timeout", "0")
            .arg("init:sleep=10000"),
        &scene,
        124,
        &["ready"],
    );
}

#[test]
fn the_default_pidfile_of_an_ordinary_user_is_in_its_runtime_directory() {
    require!(root());
    let scene = Scene::new();
    let runtime = scene.dir("runtime", 0o700, Some(4711));
    let bare = || {
        service(&scene)
            .ordinary(4711)
            .set("name", "greeter")
            .arg("pidfile=")
    };
    let daemon = started(bare().env("XDG_RUNTIME_DIR", &runtime), &scene);
    assert_eq!(
        fs::read_to_string(runtime.join("greeter.pid")).unwrap(),
        format!("{}\n", daemon.pid())
    );
    scene.stop(&daemon);
}

#[test]
fn the_callers_umask_and_directory_are_kept_if_asked() {
    let scene = Scene::new();
    let here = scene.dir("here", 0o755, None);
    let launch = || service(&scene).umask(0o026).current_dir(&here);
    let daemon = started(
        launch()
            .set("umask", "keep")
            .set("working_directory", "keep"),
        &scene,
    );
    assert_eq!(
        (daemon.status().umask, daemon.cwd()),
        (Some(0o026), here.clone())
    );
    scene.stop(&daemon);
    let daemon = started(launch(), &scene);
    assert_eq!((daemon.status().umask, daemon.cwd()), (Some(0), "/".into()));
}

#[test]
fn limits_are_set_before_the_privileges_go() {
    require!(root());
    let scene = Scene::new();
    let soft_and_hard = "nofile=300:400,core=0:unlimited,memlock=123:124,msgqueue=7";
    let launch = service(&scene)
        .set("user", "nobody")
        .set("limits", soft_and_hard)
        .set("nice", "-5")
        .set("oom_score_adj", "17");
    let daemon = started(launch, &scene);
    let read = |name| fs::read_to_string(format!("/proc/{}/{name}", daemon.pid())).unwrap();
    let limits = read("limits");
    for (name, soft, hard) in [
        ("Max open files", "300", "400"),
        ("Max core file size", "0", "unlimited"),
        ("Max locked memory", "123", "124"),
        ("Max msgqueue size", "7", "7"),
    ] {
        let values = limits.lines().find_map(|line| line.strip_prefix(name));
        let values: Vec<_> = values.expect(name).split_whitespace().take(2).collect();
        assert_eq!(values, [soft, hard], "{name}");
    }
    assert_eq!(
        (daemon.stat().nice, read("oom_score_adj").trim()),
        (-5, "17")
    );
}

#[test]
fn limits_hold_for_privileged_init() {
    let scene = Scene::new();
    let test = "privileged_init:sh=test $(ulimit -n) = 64";
    started(service(&scene).set("limits", "nofile=64").arg(test), &scene);
}

#[test]
fn a_limit_that_may_not_be_raised_is_a_failed_step() {
    require!(root());
    let scene = Scene::new();
    let launch = || {
        service(&scene)
            .ordinary(4711)
            .nice(0)
            .rlimit(Resource::RLIMIT_NOFILE, 100, 200)
    };
    let daemon = started(
        launch().set("limits", "nofile=200:200").set("nice", "1"),
        &scene,
    );
    scene.stop(&daemon);
    for (setting, value, object) in [
        ("limits", "nofile=100:201", "limit nofile"),
        ("nice", "-1", "nice value -1"),
        ("oom_score_adj", "-1", "oom_score_adj -1"),
    ] {
        let words = format!("cannot set the limits of the process: {object}: ");
        refused(launch().set(setting, value), &scene, 93, &[&words]);
    }
}

#[test]
fn the_processors_are_those_that_are_named() {
    let scene = Scene::new();
    let daemon = started(service(&scene).set("cpu_affinity", "0"), &scene);
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    assert!(status.contains("\nCpus_allowed_list:\t0\n"), "{status}");
    scene.stop(&daemon);
    for (list, status, says) in [
        ("1023", 93, "there is no processor 1023"),
        // The kernel leaves out what is not there.
        ("0,1023", 93, "there is no processor 1023"),
        ("1024", 2, "there is no processor 1024"),
        ("3-1", 2, "the range `3-1` is empty"),
        ("all", 2, "`all` is no processor"),
    ] {
        refused(
            service(&scene).set("cpu_affinity", list),
            &scene,
            status,
            &[says],
        );
    }
}

#[test]
fn a_limit_that_is_set_twice_is_refused() {
    let scene = Scene::new();
    let launch = service(&scene).set("limits", "nofile=64,core=0,nofile=65");
    let says = ["limit \"nofile=65\"", "`nofile` is limited twice"];
    refused(launch, &scene, 2, &says);
}

/// They are its manager's to set.
#[test]
fn in_the_foreground_the_limits_are_the_callers() {
    let scene = Scene::new();
    let launch = service(&scene)
        .set("mode", "foreground")
        .set("limits", "nofile=64")
        .set("nice", "3")
        .arg("main:sh=ulimit -n; nice");
    let said = launch.rlimit(Resource::RLIMIT_NOFILE, 200, 200).run();
    let nice = Command::new("nice").output().expect("nice").stdout;
    let nice = String::from_utf8(nice).expect("a number");
    assert_eq!(said.assert_exited(0).stdout, format!("200\n{nice}"));
}

/// A directory outside of the chroot would be a way out of it.
#[test]
fn the_callers_directory_cannot_be_kept_in_a_chroot() {
    let scene = Scene::new();
    let launch = service(&scene)
        .set("chroot", "/")
        .set("working_directory", "keep");
    refused(launch, &scene, 2, &["working_directory", "chroot"]);
}

#[test]
fn the_name_is_the_binarys_unless_it_is_set() {
    let scene = Scene::new();
    let says = |launch: Launch<'_>| launch.arg("init:err=no").run().stderr;
    assert!(says(service(&scene)).starts_with("svc: "));
    assert!(says(service(&scene).set("name", "greeter")).starts_with("greeter: "));
    let called = says(scene.launch(bin("svc")).arg0("/usr/sbin/other"));
    assert!(
        called.starts_with("svc: ") || called.starts_with("other: "),
        "{called}"
    );
}
