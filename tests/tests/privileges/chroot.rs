//! E37: another root directory, out of which nothing leads.

use std::fs;
use std::path::PathBuf;

use daemon_harness::{Launch, Scene, bin, require};

use daemon_tests::svc::{refused, started};

use crate::{NOBODY, as_nobody, assert_is, groups_of, mode_and_owner};

/// A directory with a directory `inside` that nobody may write.
fn jail(scene: &Scene) -> PathBuf {
    let jail = scene.dir("jail", 0o755, None);
    scene.dir("jail/inside", 0o755, Some(NOBODY));
    jail
}

/// The service in its jail.
fn jailed<'s>(scene: &'s Scene, jail: &PathBuf) -> Launch<'s> {
    as_nobody(scene).set("chroot", jail)
}

#[test]
fn e37_root_and_working_directory_are_inside() {
    require!(root());
    let scene = Scene::new();
    let jail = jail(&scene);
    let daemon = started(jailed(&scene, &jail).hostile(), &scene);
    assert_eq!((daemon.root(), daemon.cwd()), (jail.clone(), jail));
    assert_is(&daemon, NOBODY, NOBODY, &groups_of("nobody"));
}

#[test]
fn e37_the_working_directory_means_the_one_inside() {
    require!(root());
    let scene = Scene::new();
    let jail = jail(&scene);
    let launch = jailed(&scene, &jail)
        .set("working_directory", "/inside")
        .arg("init:write=here");
    assert_eq!(started(launch, &scene).cwd(), jail.join("inside"));
    assert_eq!(mode_and_owner(jail.join("inside/here")).1, NOBODY);
}

#[test]
fn e37_no_descriptor_leads_out() {
    require!(root());
    let scene = Scene::new();
    let jail = jail(&scene);
    let log = scene.path("log");
    let launch = jailed(&scene, &jail)
        .hostile()
        .descriptor(7, "/")
        .descriptor(900, scene.path(""));
    let launch = launch
        .set("pidfile", scene.pidfile())
        .set("stdout", &log)
        .set("stderr", &log);
    let daemon = started(launch, &scene);
    for (number, descriptor) in daemon.descriptors() {
        let leads_to = fs::metadata(format!("/proc/{}/fd/{number}", daemon.pid())).unwrap();
        assert!(!leads_to.is_dir(), "{number}: {descriptor:?}");
    }
}

#[test]
fn e37_no_path_leads_out() {
    require!(root());
    let scene = Scene::new();
    let jail = jail(&scene);
    let outside = scene.file("outside", "");
    fs::set_permissions(
        &outside,
        std::os::unix::fs::PermissionsExt::from_mode(0o666),
    )
    .unwrap();
    std::os::unix::fs::symlink(&outside, jail.join("link")).unwrap();
    let up = PathBuf::from(format!("../../../../../..{}", outside.display()));
    started(as_nobody(&scene).set("init:open", &outside), &scene).kill(); // It can be opened from outside.
    for path in [
        &outside,
        &up,
        &PathBuf::from("../outside"),
        &PathBuf::from("/link"),
        &"/proc/self/cwd".into(),
    ] {
        refused(
            jailed(&scene, &jail).set("init:open", path),
            &scene,
            1,
            &["No such file"],
        );
    }
}

#[test]
fn e37_there_is_no_way_back_to_root_inside() {
    require!(root());
    let scene = Scene::new();
    let jail = jail(&scene);
    started(jailed(&scene, &jail).arg("init:regain"), &scene);
}

/// Without a user it remains root, whom no chroot(2) holds; but it is inside.
#[test]
fn e37_root_may_be_jailed_too() {
    require!(root());
    let scene = Scene::new();
    let jail = jail(&scene);
    let daemon = started(scene.launch(bin("svc")).set("chroot", &jail), &scene);
    assert_eq!(
        (daemon.root(), daemon.cwd(), daemon.status().euid),
        (jail.clone(), jail, 0)
    );
}

#[test]
fn e37_privileged_init_is_still_outside() {
    require!(root());
    let scene = Scene::new();
    let jail = jail(&scene);
    started(
        jailed(&scene, &jail).set("privileged_init:write", scene.path("outside")),
        &scene,
    );
    assert!(scene.path("outside").exists());
}

#[test]
fn e37_what_cannot_be_entered_is_named() {
    require!(root());
    let scene = Scene::new();
    let (jail, file) = (jail(&scene), scene.file("file", ""));
    let into = |path: &PathBuf| {
        as_nobody(&scene)
            .set("pidfile", scene.pidfile())
            .set("chroot", path)
    };
    refused(
        into(&scene.path("missing")),
        &scene,
        93,
        &["missing", "No such file"],
    );
    refused(into(&file), &scene, 93, &["file", "Not a directory"]);
    refused(
        into(&jail).set("working_directory", "/missing"),
        &scene,
        91,
        &["/missing", "No such file"],
    );
    let ordinary = scene.launch(bin("svc")).ordinary(4711).set("chroot", &jail);
    refused(ordinary, &scene, 93, &["chroot", "Operation not permitted"]);
}

#[test]
fn e37_the_pidfile_stays_with_its_lock_free() {
    require!(root());
    let scene = Scene::new();
    let jail = jail(&scene);
    let launch = || jailed(&scene, &jail).set("pidfile", scene.pidfile());
    let first = started(launch(), &scene);
    assert_eq!(scene.pid_in_pidfile(), Some(first.pid()));
    launch()
        .run()
        .assert_exited(80)
        .assert_says(&[&first.pid().to_string()]);
    scene.stop(&first);
    assert_eq!(scene.pid_in_pidfile(), Some(first.pid()));
    scene.assert_no_leftovers();
    let second = started(launch(), &scene);
    assert_eq!(scene.pid_in_pidfile(), Some(second.pid()));
}

/// The path of the pidfile means another file inside, which is none of the service's business.
#[test]
fn e37_nothing_inside_is_taken_for_the_pidfile() {
    require!(root());
    let scene = Scene::new();
    let jail = jail(&scene);
    let inside = jail.join(scene.pidfile().strip_prefix("/").unwrap());
    fs::create_dir_all(inside.parent().unwrap()).unwrap();
    let launch = scene
        .launch(bin("svc"))
        .set("chroot", &jail)
        .set("pidfile", scene.pidfile());
    let daemon = started(launch, &scene);
    fs::hard_link(scene.pidfile(), &inside).unwrap();
    scene.stop(&daemon);
    assert!(inside.exists() && scene.pidfile().exists());
}

#[test]
fn e37_logs_are_opened_outside() {
    require!(root());
    let scene = Scene::new();
    let jail = jail(&scene);
    let launch = jailed(&scene, &jail)
        .set("stderr", scene.path("log"))
        .arg("init:eprintln=from inside");
    started(launch, &scene);
    assert_eq!(
        fs::read_to_string(scene.path("log")).unwrap(),
        "from inside\n"
    );
}
