//! Users and groups where looking them up, or setting them, is not what it is elsewhere.

use std::fs;
use std::path::Path;
use std::process::Command;

use daemon_harness::{Scene, require};

use crate::in_namespaces;

/// A module of the C library's for one user, that starts a thread and keeps a file that only root
/// can open, as those of sss, ldap and winbind may.
const MODULE: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <nss.h>
#include <pthread.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

static void *wait_for_ever(void *unused) { for (;;) pause(); return unused; }

static void untidy(void) {
    static int kept = -1;
    pthread_t thread;
    if (kept < 0) {
        kept = open("/etc/shadow", O_RDONLY);
        pthread_create(&thread, 0, wait_for_ever, 0);
    }
}

static enum nss_status fill(struct passwd *found) {
    found->pw_name = "wanderer"; found->pw_passwd = "x"; found->pw_uid = 48174; found->pw_gid = 48174;
    found->pw_gecos = ""; found->pw_dir = "/home/wanderer"; found->pw_shell = "/bin/sh";
    return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_untidy_getpwnam_r(const char *name, struct passwd *found, char *buffer, size_t size, int *error) {
    untidy();
    if (strcmp(name, "wanderer") == 0) return fill(found);
    *error = ENOENT;
    return NSS_STATUS_NOTFOUND;
}

enum nss_status _nss_untidy_getpwuid_r(uid_t uid, struct passwd *found, char *buffer, size_t size, int *error) {
    untidy();
    if (uid == 48174) return fill(found);
    *error = ENOENT;
    return NSS_STATUS_NOTFOUND;
}
"#;

#[test]
fn d7_modules_that_start_threads_and_keep_files_leave_nothing_in_the_daemon() {
    require!(root(), glibc(), tool("cc"));
    for mode in ["detach", "foreground"] {
        let scene = Scene::new();
        let source = scene.file("module.c", MODULE);
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-pthread", "-o"])
            .arg(scene.path("libnss_untidy.so.2"))
            .arg(&source)
            .status();
        assert!(built.expect("cc").success());
        // The comment is in Latin-1.
        let switch = b"# f\xfcr alle\npasswd: files untidy\ngroup: files\n";
        let switch = scene.file("nsswitch.conf", switch);
        let script = format!(
            "mount --bind {} /etc/nsswitch.conf && exec \"$@\" user=wanderer mode={mode} stderr={}",
            switch.display(),
            scene.path("log").display()
        );
        let launch =
            in_namespaces(&scene, &["--mount"], &script).env("LD_LIBRARY_PATH", scene.path(""));
        let daemon = if mode == "detach" {
            // In the foreground the environment is the manager's.
            let launch = launch.arg("init:sh=test $HOME = /home/wanderer");
            launch.run().assert_ready();
            scene.daemon()
        } else {
            let running = launch.spawn();
            scene.wait_until("the user", || running.process().status().euid == 48174);
            running.process()
        };
        let status = daemon.status();
        assert_eq!(
            (status.ruid, status.rgid, status.groups.as_slice()),
            (48174, 48174, &[48174][..])
        );
        let open = daemon.descriptors();
        assert!(
            !open.values().any(|found| found.target.ends_with("shadow")),
            "{open:#?}"
        );
        assert_eq!(
            fs::read_dir(format!("/proc/{}/task", daemon.pid()))
                .unwrap()
                .count(),
            1
        );
        scene.stop(&daemon);
    }
}

#[test]
fn d7_an_unknown_user_is_said_to_be_unknown() {
    const SWITCH: &str = "/etc/nsswitch.conf";
    require!(root(), glibc(), that(Path::new(SWITCH).exists(), SWITCH));
    let scene = Scene::new();
    // There is no such module.
    let switch = scene.file("nsswitch.conf", "passwd: files untidy\n");
    let script = format!(
        "mount --bind {} /etc/nsswitch.conf && exec \"$@\" user=nemo",
        switch.display()
    );
    let started = in_namespaces(&scene, &["--mount"], &script).run();
    started
        .assert_exited(93)
        .assert_says(&["user nemo: not found"]);
}

#[test]
fn d9_setgroups_denied_where_no_group_has_to_change() {
    require!(root());
    let scene = Scene::new();
    let log = scene.path("log");
    let script = format!(
        "\"$@\" user=root groups=root stderr={}; echo status $?",
        log.display()
    );
    // Mapped to root alone, as in a container without privileges.
    let launch = in_namespaces(&scene, &["--user", "--map-root-user"], &script).groups([0]);
    let started = launch.run();
    assert_eq!(started.stdout, "status 0\n", "{started:?}");
    scene.stop(&scene.daemon());
}

#[test]
fn d9_and_where_one_has_to_the_start_fails() {
    require!(root());
    let scene = Scene::new();
    let script = "\"$@\" user=root groups=root; echo status $?";
    let started = in_namespaces(&scene, &["--user", "--map-root-user"], script)
        .groups([0, 4])
        .run();
    assert_eq!(started.stdout, "status 93\n", "{started:?}");
}
