//! Users and groups: whom a service becomes, and who it cannot become.

use std::fs;
use std::path::Path;

use daemon_harness::{FORKS, Launch, Scene, bin, require};

use daemon_tests::svc::{refused, started};

use crate::{
    NOBODY, as_nobody, assert_capabilities, assert_is, groups_of, in_namespaces, open_to_all,
};

/// Users that this machine has not: one in many groups, and one whose name is a number.
const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
tester:x:4711:4712::/home/tester:/bin/tester
4720:x:4721:4722::/home/digits:/bin/digits
";
const GROUP: &str = "\
root:x:0:
first:x:5001:nobody,tester
second:x:5002:nobody
third:x:5003:tester
4730:x:4731:
";

/// The service on a machine with these users and groups.
fn elsewhere<'s>(scene: &'s Scene, groups: &str) -> Launch<'s> {
    let passwd = scene.file("passwd", PASSWD);
    let group = scene.file("group", groups);
    let bind = |file: &Path, name: &str| format!("mount --bind {} /etc/{name}", file.display());
    in_namespaces(
        scene,
        &[],
        &format!("{}; {}", bind(&passwd, "passwd"), bind(&group, "group")),
    )
}

#[test]
fn e30_exactly_the_targets_groups_remain() {
    require!(root());
    let scene = Scene::new();
    let daemon = started(as_nobody(&scene).groups([0, 1, 4, 27, 4242]), &scene);
    assert_is(&daemon, NOBODY, NOBODY, &groups_of("nobody"));
}

#[test]
fn e30_all_groups_of_a_user_in_several() {
    require!(root());
    let scene = Scene::new();
    let daemon = started(
        elsewhere(&scene, GROUP)
            .set("user", "tester")
            .groups([0, 4242]),
        &scene,
    );
    assert_is(&daemon, 4711, 4712, &[4712, 5001, 5003]);
}

#[test]
fn e30_all_groups_of_a_user_in_hundreds() {
    require!(root());
    let scene = Scene::new();
    // With a line break at the end: without one, musl does not read the last character.
    let groups: Vec<_> = (6000..6300)
        .map(|gid| format!("g{gid}:x:{gid}:other,tester\n"))
        .collect();
    let daemon = started(
        elsewhere(&scene, &groups.concat()).set("user", "tester"),
        &scene,
    );
    assert_is(
        &daemon,
        4711,
        4712,
        &[4712].into_iter().chain(6000..6300).collect::<Vec<_>>(),
    );
}

#[test]
fn e30_the_group_and_the_groups_that_were_asked_for() {
    require!(root());
    let scene = Scene::new();
    let foreign = |settings: &[(&str, &str)]| {
        let launch = scene.launch(bin("svc")).groups([0, 4, 4242]);
        let daemon = started(
            settings
                .iter()
                .fold(launch, |launch, (name, value)| launch.set(name, value)),
            &scene,
        );
        let status = daemon.status();
        daemon.kill();
        scene.exit_status(&daemon);
        (status.euid, status.egid, status.groups)
    };
    assert_eq!(
        foreign(&[("user", "nobody"), ("group", "mail")]),
        (NOBODY, 8, vec![8])
    );
    assert_eq!(
        foreign(&[("user", "nobody"), ("group", "8")]),
        (NOBODY, 8, vec![8])
    );
    assert_eq!(
        foreign(&[("user", "nobody"), ("groups", "mail,4711")]),
        (NOBODY, NOBODY, vec![8, 4711])
    );
    assert_eq!(
        foreign(&[("user", "nobody"), ("groups", "")]),
        (NOBODY, NOBODY, vec![])
    );
    assert_eq!(
        foreign(&[("user", "nobody"), ("group", "mail"), ("groups", "4711")]),
        (NOBODY, 8, vec![4711])
    );
    assert_eq!(foreign(&[("group", "mail")]), (0, 8, vec![8]));
    assert_eq!(foreign(&[("groups", "mail")]), (0, 0, vec![8]));
    assert_eq!(
        foreign(&[("group", "mail"), ("groups", "4711,4712")]),
        (0, 8, vec![4711, 4712])
    );
    assert_eq!(
        foreign(&[]),
        (0, 0, vec![0, 4, 4242]),
        "nothing was asked for"
    );
}

#[test]
fn e32_an_unknown_user_or_group_is_named() {
    require!(root());
    let scene = Scene::new();
    for (setting, value) in [
        ("user", "nemo"),
        ("group", "nautilus"),
        ("groups", "mail,nautilus"),
        ("user", ""),
    ] {
        let launch = scene
            .launch(bin("svc"))
            .set("pidfile", scene.pidfile())
            .set(setting, value);
        let name = value.trim_start_matches("mail,");
        refused(
            launch,
            &scene,
            93,
            &[
                "cannot drop privileges",
                &format!("{} {name}", setting.trim_end_matches('s')),
            ],
        );
        assert!(!scene.pidfile().exists());
    }
}

#[test]
fn e32_a_name_with_a_nul_is_unknown() {
    require!(root());
    let scene = Scene::new();
    refused(
        scene.launch(bin("svc")).set("user", r"nobody\0"),
        &scene,
        93,
        &["user"],
    );
    refused(
        as_nobody(&scene).set("group", r"mail\0"),
        &scene,
        93,
        &["group"],
    );
}

/// A fork would fail with status 85.
#[test]
fn rule5_names_are_looked_up_before_the_fork() {
    require!(root());
    let scene = Scene::new();
    let cannot_fork = |setting, value| {
        let launch = scene.launch(bin("svc")).set(setting, value);
        FORKS
            .iter()
            .fold(launch, |launch, &call| launch.denying(call, libc::EAGAIN))
    };
    refused(cannot_fork("user", "nemo"), &scene, 93, &["user nemo"]);
    refused(
        cannot_fork("group", "nautilus"),
        &scene,
        93,
        &["group nautilus"],
    );
    refused(
        cannot_fork("groups", "nautilus"),
        &scene,
        93,
        &["group nautilus"],
    );
    refused(
        cannot_fork("user", "nobody"),
        &scene,
        85,
        &["Resource temporarily unavailable"],
    );
}

#[test]
fn e32_a_number_without_an_entry_needs_a_group() {
    require!(root());
    let scene = Scene::new();
    let numbered = || {
        scene
            .launch(bin("svc"))
            .groups([0, 4242])
            .set("uid", "54321")
    };
    refused(numbered(), &scene, 93, &["user 54321", "set `group`"]);
    refused(
        scene.launch(bin("svc")).set("user", "54321"),
        &scene,
        93,
        &["user 54321", "set `group`"],
    );
    assert_is(
        &started(numbered().set("group", "mail"), &scene),
        54321,
        8,
        &[8],
    );
}

#[test]
fn e32_nobody_bears_a_number_without_an_entry() {
    require!(root());
    let scene = Scene::new();
    let environ = open_to_all(&scene).join("environ");
    let launch = scene
        .launch(bin("svc"))
        .set("uid", "54321")
        .set("group", "54321")
        .env("USER", "root");
    started(launch.set("init:environ", &environ), &scene);
    let environ = fs::read_to_string(environ).unwrap();
    assert!(
        environ.contains("HOME=/\0") && !environ.contains("USER=") && !environ.contains("LOGNAME="),
        "{environ}"
    );
}

#[test]
fn e34_a_number_never_means_that_groups_are_kept() {
    require!(root());
    let scene = Scene::new();
    let numbered = scene
        .launch(bin("svc"))
        .set("uid", "65534")
        .groups([0, 4, 4242]);
    assert_is(
        &started(numbered, &scene),
        NOBODY,
        NOBODY,
        &groups_of("nobody"),
    );
}

#[test]
fn e34_a_number_has_the_groups_of_its_entry() {
    require!(root());
    let scene = Scene::new();
    let daemon = started(
        elsewhere(&scene, GROUP).set("uid", "4711").groups([0, 4]),
        &scene,
    );
    assert_is(&daemon, 4711, 4712, &[4712, 5001, 5003]);
}

#[test]
fn e32_a_name_of_digits_is_a_name_first() {
    require!(root());
    let scene = Scene::new();
    let daemon = started(
        elsewhere(&scene, GROUP)
            .set("user", "4720")
            .set("group", "4730"),
        &scene,
    );
    assert_is(&daemon, 4721, 4731, &[4731]);
}

#[test]
fn e32_minus_one_is_no_id() {
    require!(root());
    let scene = Scene::new();
    let minus_one = "4294967295";
    refused(
        scene
            .launch(bin("svc"))
            .set("uid", minus_one)
            .set("group", "8"),
        &scene,
        93,
        &[minus_one, "-1"],
    );
    for setting in ["user", "group", "groups"] {
        refused(
            scene.launch(bin("svc")).set(setting, minus_one),
            &scene,
            93,
            &[minus_one, "-1"],
        );
    }
    for nonsense in ["-1", "4294967296", "65534 ", "+65534", "0x1"] {
        refused(
            scene
                .launch(bin("svc"))
                .set("user", nonsense)
                .set("group", "8"),
            &scene,
            93,
            &[nonsense],
        );
    }
}

#[test]
fn e32_no_permission_to_change() {
    require!(root());
    let scene = Scene::new();
    let ordinary = |setting, value| scene.launch(bin("svc")).ordinary(4711).set(setting, value);
    for (setting, value) in [
        ("user", "nobody"),
        ("user", "root"),
        ("group", "mail"),
        ("groups", "mail"),
    ] {
        refused(
            ordinary(setting, value),
            &scene,
            93,
            &["cannot drop privileges", "Operation not permitted"],
        );
    }
}

#[test]
fn e32_root_without_the_capability_has_no_permission() {
    require!(root());
    let scene = Scene::new();
    let (setgid, setuid) = (6, 7);
    refused(
        as_nobody(&scene).bounding_without([setgid]),
        &scene,
        93,
        &["groups", "Operation not permitted"],
    );
    refused(
        as_nobody(&scene).bounding_without([setuid]),
        &scene,
        93,
        &["user id", "Operation not permitted"],
    );
}

#[test]
fn e32_already_that_user() {
    require!(root());
    let scene = Scene::new();
    let nobody = || as_nobody(&scene).ordinary(NOBODY);
    let daemon = started(nobody(), &scene);
    assert_is(&daemon, NOBODY, NOBODY, &[]);
    daemon.kill();
    scene.exit_status(&daemon);
    // In the groups of a login session, which nobody without privileges can change.
    let daemon = started(nobody().groups([8, NOBODY]), &scene);
    assert_is(&daemon, NOBODY, NOBODY, &[8, NOBODY]);
    daemon.kill();
    scene.exit_status(&daemon);
    refused(
        nobody().set("groups", "mail"),
        &scene,
        93,
        &["Operation not permitted"],
    );
}

#[test]
fn e32_half_that_user_is_not_that_user() {
    require!(root());
    let scene = Scene::new();
    refused(
        as_nobody(&scene).uid(NOBODY).gid(0).groups([]),
        &scene,
        93,
        &["Operation not permitted"],
    );
}

#[test]
fn e32_already_root() {
    require!(root());
    let scene = Scene::new();
    let daemon = started(
        scene
            .launch(bin("svc"))
            .set("user", "root")
            .groups([0, 4242]),
        &scene,
    );
    assert_is(&daemon, 0, 0, &groups_of("root"));
    assert_eq!(
        daemon.status().capeff,
        daemon.status().capbnd.unwrap(),
        "root stays what it is"
    );
}

/// As started by a manager that gives these two to an ordinary user.
#[test]
fn e31_an_ordinary_user_with_the_right_to_change_gives_it_up() {
    require!(root());
    let scene = Scene::new();
    let (setgid, setuid) = (6, 7);
    let daemon = started(
        as_nobody(&scene)
            .ordinary(4711)
            .groups([4242])
            .ambient([setgid, setuid]),
        &scene,
    );
    assert_is(&daemon, NOBODY, NOBODY, &groups_of("nobody"));
    assert_capabilities(&daemon, 0);
}

#[test]
fn e33_groups_then_gid_then_uid() {
    require!(root(), tool("strace"));
    let scene = Scene::new();
    let calls = ["-e", "trace=setgroups,setresgid,setresuid"];
    as_nobody(&scene)
        .strace("strace.log", &calls)
        .run()
        .assert_ready();
    let log = fs::read_to_string(scene.path("strace.log")).unwrap();
    let at = |call: &str| {
        log.find(call)
            .unwrap_or_else(|| panic!("no {call} in {log}"))
    };
    assert!(
        at("setgroups") < at("setresgid") && at("setresgid") < at("setresuid"),
        "{log}"
    );
}

#[test]
fn e33_any_failure_is_fatal() {
    require!(root());
    let scene = Scene::new();
    for call in [
        libc::SYS_setgroups,
        libc::SYS_setresgid,
        libc::SYS_setresuid,
        libc::SYS_capset,
    ] {
        let launch = as_nobody(&scene)
            .set("pidfile", scene.pidfile())
            .denying(call, libc::EAGAIN);
        refused(
            launch,
            &scene,
            93,
            &["cannot drop privileges", "Resource temporarily unavailable"],
        );
    }
}

/// The system claims success and has done nothing.
#[test]
fn e31_what_did_not_happen_is_noticed() {
    require!(root(), tool("strace"));
    let scene = Scene::new();
    for call in ["setgroups", "setresgid", "setresuid"] {
        let inject = format!("inject={call}:retval=0");
        let launch = as_nobody(&scene)
            .groups([0, 4242])
            .set("init:write", scene.path("init"));
        let launch = launch.strace("strace.log", &["-e", &inject]);
        refused(launch, &scene, 93, &["cannot drop privileges"]);
        assert!(
            fs::read_to_string(scene.path("strace.log"))
                .unwrap()
                .contains("INJECTED")
        );
        assert!(!scene.path("init").exists());
    }
}
