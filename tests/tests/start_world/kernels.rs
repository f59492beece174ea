//! Kernels of other years: a filter answers ENOSYS to the system calls that they lack.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use daemon_harness::{Launch, Scene, bin, require};
use daemon_tests::ctl::Ctl;
use daemon_tests::svc::service;
use libc::{ENOSYS, c_long};

/// System calls, after the last Linux that lacks them; so it lacks all above, too.
const LACKING: [(&str, &[c_long]); 4] = [
    ("5.8", &[libc::SYS_close_range, libc::SYS_epoll_pwait2]),
    (
        "5.2",
        &[
            libc::SYS_pidfd_open,
            libc::SYS_clone3,
            libc::SYS_openat2,
            libc::SYS_pidfd_getfd,
            libc::SYS_faccessat2,
        ],
    ),
    ("4.10", &[libc::SYS_pidfd_send_signal, libc::SYS_statx]),
    (
        "3.10",
        &[
            libc::SYS_copy_file_range,
            libc::SYS_preadv2,
            libc::SYS_pwritev2,
            libc::SYS_membarrier,
            libc::SYS_getrandom,
            libc::SYS_memfd_create,
            // It is the only rename where Linux is younger.
            #[cfg(not(target_arch = "riscv64"))]
            libc::SYS_renameat2,
        ],
    ),
];

/// What Linux of this version lacks.
fn lacking(kernel: &str) -> Vec<c_long> {
    let last = LACKING.iter().position(|(last, _)| *last == kernel);
    let until = &LACKING[..=last.expect("a version")];
    until
        .iter()
        .flat_map(|(_, calls)| *calls)
        .copied()
        .collect()
}

/// As this kernel would start it.
fn on<'s>(kernel: &str, launch: Launch<'s>) -> Launch<'s> {
    lacking(kernel)
        .into_iter()
        .fold(launch, |launch, call| launch.denying(call, ENOSYS))
}

#[test]
fn a_start_in_a_hostile_place_needs_no_more_than_linux_3_10() {
    require!(root());
    for (kernel, _) in LACKING {
        let scene = Scene::new();
        let launch = service(&scene).set("user", "nobody").hostile();
        on(kernel, launch).run().assert_ready();
        let daemon = scene.daemon();
        assert!(daemon.descriptors().len() < 10, "on {kernel}");
        scene.stop(&daemon);
        scene.assert_no_leftovers();
    }
}

#[test]
fn neither_does_a_command() {
    require!(root());
    for (kernel, _) in LACKING {
        let scene = Scene::new();
        let ctl = Ctl::new(&scene).with("reloads", "");
        for (line, says) in [
            ("start", ""),
            ("status", "running"),
            ("reload", "reloaded"),
            ("restart", "restarted"),
            ("stop", "stopped"),
        ] {
            let done = on(kernel, ctl.command(line)).run();
            done.assert_exited(0);
            assert!(done.stdout.contains(says), "on {kernel}: {done:?}");
        }
        scene.assert_no_leftovers();
    }
}

/// Without pidfds the manager's command is waited for as the service is. It needs files in memory.
#[test]
fn neither_does_a_command_that_a_manager_carries_out() {
    require!(root(), tool("runsv"));
    for (kernel, _) in &LACKING[..3] {
        let scene = Scene::new();
        let service = scene.dir("service", 0o755, None);
        let run = format!(
            "#!/bin/sh\nexport CTL=pidfile={}\nexec {} run\n",
            scene.pidfile().display(),
            bin("ctl").display()
        );
        fs::write(service.join("run"), run).unwrap();
        fs::set_permissions(service.join("run"), Permissions::from_mode(0o755)).unwrap();
        let supervisor = scene.launch("/usr/bin/runsv").arg(&service).spawn();
        let ctl = Ctl::new(&scene);
        scene.wait_until("the service", || ctl.run("status").status.success());
        for (line, says) in [("restart", "by `sv "), ("stop", "stopped")] {
            let done = on(kernel, ctl.command(line)).run();
            done.assert_exited(0);
            assert!(done.stdout.contains(says), "on {kernel}: {done:?}");
        }
        supervisor.signal(libc::SIGTERM);
        supervisor.wait();
    }
}
