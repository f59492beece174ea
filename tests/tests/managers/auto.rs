//! The rules of `auto` mode, one by one: each neither misses nor overreaches. Shells stand for the
//! managers; the managers themselves are in `systemd`, `supervisors` and
//! `containers`.

use std::os::unix::net::UnixDatagram;

use daemon_harness::Scene;

use crate::shells::{assert_detaches, assert_stays, below, from_shell};

#[test]
fn e46_a_shell_and_a_shell_below_it_detach() {
    let scene = Scene::new();
    assert_detaches(&scene, from_shell(&scene, "/bin/sh", "exec SVC"));
    assert_detaches(&scene, from_shell(&scene, "/bin/sh", "SVC; exit $?"));
    assert_detaches(
        &scene,
        from_shell(&scene, "/bin/sh", "sh -c 'SVC; exit $?'; exit $?").new_session(),
    );
}

#[test]
fn e46_systemd_exec_pid_means_this_process_only() {
    let scene = Scene::new();
    let script = |script: &str| from_shell(&scene, "/bin/sh", script);
    assert_stays(&scene, script("export SYSTEMD_EXEC_PID=$$; exec SVC"));
    // A wrapper that stays could as well be a shell below a service, or rc.local: it is told by
    // `DAEMON_MODE`.
    assert_detaches(&scene, script("export SYSTEMD_EXEC_PID=$$; SVC; exit $?"));
    assert_stays(
        &scene,
        script("export SYSTEMD_EXEC_PID=$$ DAEMON_MODE=foreground; SVC; exit $?"),
    );
    assert_detaches(&scene, script("export SYSTEMD_EXEC_PID=1; exec SVC"));
    for nonsense in ["", "x", "-1", "99999999999"] {
        assert_detaches(&scene, script("exec SVC").env("SYSTEMD_EXEC_PID", nonsense));
    }
}

#[test]
fn e46_a_pidfile_of_systemds_means_type_forking() {
    let scene = Scene::new();
    let launch = from_shell(
        &scene,
        "/bin/sh",
        "export SYSTEMD_EXEC_PID=$$ PIDFILE=/run/x.pid; exec SVC",
    );
    assert_detaches(&scene, launch);
}

#[test]
fn e46_systemds_own_socket_reaches_this_process_and_a_wrappers_child() {
    let scene = Scene::new();
    scene.dir("systemd", 0o755, None);
    let path = scene.path("systemd/notify");
    let _manager = UnixDatagram::bind(&path).expect("a socket");
    let script = |script: &str| from_shell(&scene, "/bin/sh", script).env("NOTIFY_SOCKET", &path);
    assert_stays(&scene, script("exec SVC"));
    assert_stays(&scene, script("export SYSTEMD_EXEC_PID=$$; exec SVC"));
    assert_stays(&scene, script("export SYSTEMD_EXEC_PID=$$; SVC; exit $?"));
    // A shell that was opened somewhere below a service.
    assert_detaches(
        &scene,
        script("export SYSTEMD_EXEC_PID=$$; sh -c 'SVC; exit $?'; exit $?"),
    );
    assert_detaches(&scene, script("export SYSTEMD_EXEC_PID=1; SVC; exit $?"));
}

#[test]
fn e46_any_other_socket_is_meant_for_it() {
    let scene = Scene::new();
    let path = scene.path("notify");
    let _manager = UnixDatagram::bind(&path).expect("a socket");
    let launch = from_shell(&scene, "/bin/sh", "exec SVC").env("SYSTEMD_EXEC_PID", "1");
    assert_stays(&scene, launch.env("NOTIFY_SOCKET", path));
}

#[test]
fn a_service_below_another_leaves_the_others_manager_alone() {
    let scene = Scene::new();
    scene.dir("systemd", 0o755, None);
    let path = scene.path("systemd/notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    let launch = from_shell(&scene, "/bin/sh", "exec SVC").env("SYSTEMD_EXEC_PID", "1");
    assert_detaches(&scene, launch.env("NOTIFY_SOCKET", path));
    manager.set_nonblocking(true).expect("fcntl");
    assert!(
        manager.recv(&mut [0]).is_err(),
        "it was told something: READY=1 or MAINPID= of a stranger"
    );
}

#[test]
fn e46_sockets_for_this_process_mean_activation() {
    let scene = Scene::new();
    let script = |script: &str| from_shell(&scene, "/bin/sh", script);
    assert_stays(
        &scene,
        script("export LISTEN_PID=$$ LISTEN_FDS=1; exec SVC").descriptors([3]),
    );
    assert_detaches(
        &scene,
        script("export LISTEN_PID=$$ LISTEN_FDS=1; SVC; exit $?").descriptors([3]),
    );
    assert_detaches(
        &scene,
        script("export LISTEN_FDS=1; exec SVC").descriptors([3]),
    );
}

#[test]
fn e46_a_readiness_descriptor_means_a_manager() {
    let scene = Scene::new();
    assert_stays(
        &scene,
        from_shell(&scene, "/bin/sh", "exec SVC")
            .env("DAEMON_NOTIFY_FD", "3")
            .descriptors([3]),
    );
    assert_stays(
        &scene,
        from_shell(&scene, "/bin/sh", "SVC; exit $?")
            .env("DAEMON_NOTIFY_FD", "3")
            .descriptors([3]),
    );
}

#[test]
fn e46_a_supervisor_is_known_by_its_name() {
    let scene = Scene::new();
    let supervisors = [
        "runsv",
        "s6-supervise",
        "supervise",
        "supervise-daemon",
        "supervisord",
        "dinit",
    ];
    for name in supervisors
        .into_iter()
        .chain(["tini", "docker-init", "dumb-init", "catatonit"])
    {
        assert_stays(&scene, below(&scene, name));
    }
    for name in [
        "runsvdir",
        "s6-svscan",
        "supervisor",
        "supervised",
        "dinitctl",
        "cron",
        "sshd",
        "init",
        "tini-not",
    ] {
        assert_detaches(&scene, below(&scene, name));
    }
}

#[test]
fn e40_nothing_is_concluded_from_the_name_of_launchds_variable_alone() {
    let scene = Scene::new();
    assert_detaches(
        &scene,
        from_shell(&scene, "/bin/sh", "exec SVC").env("XPC_SERVICE_NAME", "0"),
    );
}

#[test]
fn daemon_mode_overrides_every_rule_and_nonsense_in_it_is_an_error() {
    let scene = Scene::new();
    let script = |script: &str| from_shell(&scene, "/bin/sh", script);
    assert_stays(&scene, script("exec SVC").env("DAEMON_MODE", "foreground"));
    assert_detaches(
        &scene,
        script("export DAEMON_MODE=detach SYSTEMD_EXEC_PID=$$; exec SVC"),
    );
    // What the program itself says is not `auto`.
    assert_detaches(
        &scene,
        script("exec SVC mode=detach").env("DAEMON_MODE", "foreground"),
    );
    assert_stays(
        &scene,
        script("exec SVC mode=foreground").env("DAEMON_MODE", "detach"),
    );
    for nonsense in ["", "fg", "Detach", "auto "] {
        let started = script("exec SVC").env("DAEMON_MODE", nonsense).run();
        started
            .assert_exited(2)
            .assert_says(&["DAEMON_MODE", "\"detach\" or \"foreground\""]);
    }
    scene.assert_no_leftovers();
}
