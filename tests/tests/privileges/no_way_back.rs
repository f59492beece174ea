//! Rule 7: privileges are given up for good.

use std::fs;

use daemon_harness::{Launch, Scene, bin, require};

use daemon_tests::svc::{refused, started};

use crate::{
    NOBODY, action, as_nobody, assert_capabilities, assert_is, groups_of, open_to_all, set_uid_copy,
};

#[test]
fn e31_no_call_makes_it_root_again() {
    require!(root());
    let scene = Scene::new();
    let tried = open_to_all(&scene).join("tried");
    let launch = as_nobody(&scene)
        .arg("init:regain")
        .arg("main:regain")
        .set("main:write", &tried);
    let daemon = started(launch.arg("main:shutdown"), &scene);
    scene.wait_until("`main`, which ends where it is root again", || {
        tried.exists()
    });
    assert_is(&daemon, NOBODY, NOBODY, &groups_of("nobody"));
    assert_capabilities(&daemon, 0);
}

#[test]
fn e31_nor_where_it_may_execute_set_uid_programs() {
    require!(root());
    let scene = Scene::new();
    started(
        as_nobody(&scene)
            .set("no_new_privs", "false")
            .arg("init:regain"),
        &scene,
    );
}

/// The test of the test: whoever has given up nothing finds every way.
#[test]
fn root_itself_finds_the_ways() {
    require!(root());
    let scene = Scene::new();
    let ways = [
        "setuid",
        "setresgid",
        "setgroups",
        "setfsuid",
        "securebits",
        "capset",
        "chroot",
    ];
    refused(
        scene.launch(bin("svc")).arg("init:regain"),
        &scene,
        1,
        &ways,
    );
    refused(
        as_nobody(&scene).arg("privileged_init:regain"),
        &scene,
        1,
        &ways,
    );
}

#[test]
fn init_runs_after_the_drop_and_privileged_init_before() {
    require!(root());
    let scene = Scene::new();
    let write = |hook: &str| as_nobody(&scene).set(&format!("{hook}:write"), scene.path(hook));
    started(write("privileged_init"), &scene).kill();
    refused(write("init"), &scene, 1, &["Permission denied"]);
}

/// What a set-uid copy of id(1) says that it is, as run by the daemon.
fn set_uid_program_says(scene: &Scene, launch: Launch<'_>) -> String {
    let said = scene.path("open").join("said");
    let command = format!(
        "{} -u >{}",
        set_uid_copy(scene, "/usr/bin/id").display(),
        said.display()
    );
    started(launch.set("init:sh", command), scene);
    fs::read_to_string(said).unwrap().trim().to_owned()
}

#[test]
fn e36_executing_a_set_uid_program_gives_nothing_back() {
    require!(root());
    let scene = Scene::new();
    open_to_all(&scene);
    assert_eq!(set_uid_program_says(&scene, as_nobody(&scene)), "65534");
}

#[test]
fn e36_unless_that_is_asked_for() {
    require!(root());
    let scene = Scene::new();
    open_to_all(&scene);
    assert_eq!(
        set_uid_program_says(&scene, as_nobody(&scene).set("no_new_privs", "false")),
        "0"
    );
}

#[test]
fn e36_executing_a_program_with_file_capabilities_gives_nothing_back() {
    require!(root(), tool("setcap"));
    let scene = Scene::new();
    let said = open_to_all(&scene).join("said");
    let copy = scene.path("cat");
    let grant = format!(
        "cp /bin/cat {0}; setcap cap_dac_override=ep {0}",
        copy.display()
    );
    let command = format!("{} /proc/self/status >{}", copy.display(), said.display());
    started(
        as_nobody(&scene)
            .set("privileged_init:sh", grant)
            .set("init:sh", command),
        &scene,
    );
    assert!(
        fs::read_to_string(said)
            .unwrap()
            .contains("CapEff:\t0000000000000000\n")
    );
}

#[test]
fn no_new_privs_is_on_where_privileges_are_dropped() {
    require!(root());
    let value = |surroundings: fn(Launch<'_>) -> Launch<'_>| {
        let scene = Scene::new();
        started(surroundings(scene.launch(bin("svc"))), &scene)
            .status()
            .nonewprivs
    };
    assert_eq!(value(|svc| svc), Some(0), "nothing is dropped");
    assert_eq!(value(|svc| svc.set("user", "nobody")), Some(1));
    assert_eq!(
        value(|svc| svc.set("user", "nobody").set("no_new_privs", "false")),
        Some(0)
    );
    assert_eq!(value(|svc| svc.set("no_new_privs", "true")), Some(1));
    assert_eq!(value(|svc| svc.set("user", "root")), Some(0));
    assert_eq!(
        value(|svc| svc.set("group", "mail")),
        Some(0),
        "root with another group"
    );
    assert_eq!(value(|svc| svc.ordinary(4711)), Some(0));
    assert_eq!(
        value(|svc| svc.ordinary(4711).set("no_new_privs", "true")),
        Some(1)
    );
    assert_eq!(
        value(|svc| svc.no_new_privs().set("no_new_privs", "false")),
        Some(1),
        "nobody can take it back"
    );
}

/// Privileges belong to threads: another one would keep them.
#[test]
fn rule7_a_thread_that_privileged_init_left_is_refused() {
    require!(root());
    let scene = Scene::new();
    refused(
        as_nobody(&scene).arg("privileged_init:thread"),
        &scene,
        93,
        &["2 threads run"],
    );
    refused(
        as_nobody(&scene)
            .arg("privileged_init:thread")
            .without_proc(),
        &scene,
        93,
        &["several threads may run"],
    );
}

#[test]
fn rule7_threads_that_have_ended_or_come_later_do_not_matter() {
    require!(root());
    let scene = Scene::new();
    let threads = (0..10).map(|_| "privileged_init:joined_thread");
    let daemon = started(as_nobody(&scene).args(threads).arg("init:thread"), &scene);
    assert_eq!(daemon.status().threads, 2);
    assert_is(&daemon, NOBODY, NOBODY, &groups_of("nobody"));
}

#[test]
fn rule7_without_a_drop_threads_may_stay() {
    require!(root());
    let scene = Scene::new();
    assert_eq!(
        started(
            scene.launch(bin("svc")).arg("privileged_init:thread"),
            &scene
        )
        .status()
        .threads,
        2
    );
}

#[test]
fn rule11_the_session_keyring_is_not_the_callers() {
    require!(that(
        std::path::Path::new("/proc/keys").exists(),
        "needs a kernel with keyrings"
    ));
    let scene = Scene::new();
    let directory = open_to_all(&scene);
    let keyring = |hook: &str| action(&format!("{hook}:keyring"), directory.join(hook));
    started(
        scene
            .launch(bin("svc"))
            .arg(keyring("configure"))
            .arg(keyring("init")),
        &scene,
    );
    let number = |hook: &str| fs::read_to_string(directory.join(hook)).unwrap();
    assert_ne!(number("init"), number("configure"));
}

/// That a kernel or a container has no keyrings is no failure.
#[test]
fn rule11_without_keyrings_it_starts_all_the_same() {
    require!(root());
    for errno in [libc::ENOSYS, libc::EPERM] {
        let scene = Scene::new();
        started(
            scene.launch(bin("svc")).denying(libc::SYS_keyctl, errno),
            &scene,
        );
    }
}
