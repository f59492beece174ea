//! Who has died, how the starter learns of it, and who is killed.

use std::fs;

use daemon_harness::{Proc, Scene, bin, require};
use nix::sys::resource::Resource;

use crate::{PROMPT, failed, fifo, in_namespaces, rough};

#[test]
fn a4_sigchld_ignored_in_configure_hides_no_death() {
    let ignored = || format!("configure:ignore={}", libc::SIGCHLD);
    for (ending, status, says) in [
        ("kill=9", 137, "killed by signal 9"),
        ("exit=7", 7, "exited with status 7"),
    ] {
        let scene = Scene::new();
        let started = rough(&scene)
            .arg(ignored())
            .arg(format!("init:{ending}"))
            .run();
        failed(&scene, &started, status, &[says]);
    }
}

#[test]
fn a4_the_intermediate_process_is_killed_while_sigchld_is_ignored() {
    require!(tool("strace"));
    let scene = Scene::new();
    let launch = rough(&scene).arg(format!("configure:ignore={}", libc::SIGCHLD));
    let started = launch
        .strace("calls", &["-e", "inject=setsid:signal=KILL"])
        .run();
    started.assert_says(&["the intermediate process was killed by signal 9"]);
    assert_eq!(started.status.code(), Some(137), "{started:?}");
    assert!(started.elapsed < PROMPT, "{started:?}");
}

#[test]
fn a4_what_configure_has_made_of_sigchld_is_the_daemons() {
    for (configure, ignored) in [("configure:ignore=17", true), ("configure:status=x", false)] {
        let scene = Scene::new();
        rough(&scene).arg(configure).run().assert_ready();
        let daemon = scene.daemon();
        assert_eq!(daemon.ignored().contains(&libc::SIGCHLD), ignored);
        assert!(!daemon.caught().contains(&libc::SIGCHLD));
        scene.stop(&daemon);
    }
}

#[test]
fn a4_pid_1_sees_the_services_end_while_sigchld_is_ignored() {
    require!(root());
    let scene = Scene::new();
    let script = "exec \"$@\" configure:ignore=17 init:exit=7";
    in_namespaces(&scene, &["--pid", "--fork", "--mount-proc"], script)
        .run()
        .assert_exited(7);
}

#[test]
fn b1_unshare_pid_without_fork_fails() {
    require!(root());
    for options in [&["--pid"][..], &["--pid", "--mount"]] {
        let scene = Scene::new();
        // The shell has to be replaced at once: its first child would be PID 1.
        let started = in_namespaces(&scene, options, "exec \"$@\"").run();
        assert!(started.elapsed < PROMPT, "{started:?}");
        started
            .assert_exited(88)
            .assert_says(&["the new pid namespace", "--fork"]);
        scene.assert_no_leftovers();
    }
}

#[test]
fn b1_a_new_pid_namespace_in_configure_fails() {
    require!(root());
    let scene = Scene::new();
    let started = rough(&scene).arg("configure:new_pids").run();
    failed(&scene, &started, 88, &["the new pid namespace"]);
}

#[test]
fn b1_a_daemon_that_executes_another_program_fails() {
    for hook in ["privileged_init", "init"] {
        let scene = Scene::new();
        let started = rough(&scene).arg(format!("{hook}:exec=1000")).run();
        failed(&scene, &started, 95, &["executed another program"]);
    }
}

#[test]
fn b1_a_hook_that_closes_everything_and_hangs_fails() {
    let scene = Scene::new();
    let started = rough(&scene).args(["init:close_all=3", "init:hang"]).run();
    failed(
        &scene,
        &started,
        95,
        &["has closed the pipe to the starter"],
    );
}

#[test]
fn b1_a_deferred_main_that_closes_everything_and_hangs_fails() {
    for then in [&["hang"][..], &["notify", "hang"]] {
        let scene = Scene::new();
        let launch = scene
            .launch(bin("deferred"))
            .set("pidfile", scene.pidfile())
            .arg("close_all=3");
        let started = launch.args(then).run();
        assert!(
            matches!(started.status.code(), Some(92 | 94 | 95)),
            "{started:?}"
        );
        failed(&scene, &started, started.status.code().unwrap(), &[]);
    }
}

#[test]
fn b1_deaths_are_told_by_name_as_ever() {
    for (ending, status, says) in [
        ("kill=9", 137, "the daemon was killed by signal 9"),
        ("exit=7", 7, "the daemon exited with status 7"),
        ("exit=0", 96, "the daemon exited with status 0"),
    ] {
        let scene = Scene::new();
        let started = rough(&scene)
            .args(["init:close_all=3", &format!("init:{ending}")])
            .run();
        failed(&scene, &started, status, &[says]);
    }
}

#[test]
fn b1_a_hook_that_goes_on_in_a_child_is_told_apart() {
    for hook in ["privileged_init", "init"] {
        let scene = Scene::new();
        let started = rough(&scene).arg(format!("{hook}:fork_away")).run();
        // Who is heard first, the child or the death of its parent, is left to chance.
        assert!(
            matches!(started.status.code(), Some(92 | 96)),
            "{started:?}"
        );
        failed(
            &scene,
            &started,
            started.status.code().unwrap(),
            &["a hook has", "forked", "as daemon(3) does"],
        );
    }
}

#[test]
fn b1_a_hook_that_calls_chroot_is_told_of_the_setting() {
    require!(root());
    let scene = Scene::new();
    let root = scene.dir("root", 0o755, None);
    let started = rough(&scene)
        .arg(format!("init:chroot={}", root.display()))
        .run();
    started
        .assert_exited(92)
        .assert_says(&["removed or replaced", "chroot(2): use the setting `chroot`"]);
}

/// Its first thread would be PID 1 of the new namespace, which the kernel does not let a thread be.
#[test]
fn b1_a_thread_that_cannot_be_made_is_named() {
    require!(root());
    for (hook, mode) in [("init", "detach"), ("configure", "foreground")] {
        let scene = Scene::new();
        let launch = rough(&scene)
            .env("DAEMON_MODE", mode)
            .args(["control_socket=", &format!("{hook}:new_pids")]);
        failed(
            &scene,
            &launch.run(),
            94,
            &["a thread for the control socket: "],
        );
    }
}

/// A start whose starter is suspended until the daemon, which was ready, has ended like this.
fn ended_unseen(ending: &str) -> daemon_harness::Started {
    let scene = Scene::new();
    let gate = fifo(&scene);
    let there = scene.path("there");
    let launch = rough(&scene).args([
        format!("init:note={}", there.display()),
        format!("init:cat={}", gate.display()),
    ]);
    let running = launch.arg(format!("main:{ending}")).spawn();
    scene.wait_until("the hook", || there.exists());
    let starter = running.process();
    let children = || -> Vec<Proc> {
        let all = scene.processes().into_iter();
        all.filter(|process| {
            process
                .stat_if_there()
                .is_some_and(|stat| stat.ppid == starter.pid())
        })
        .collect()
    };
    scene.wait_until("the daemon alone", || children().len() == 1);
    let daemon = children().remove(0);
    // Between two looks it would have seen the one, and not the other.
    scene.wait_until("the starter's wait", || starter.stat().state == 'S');
    running.signal(libc::SIGSTOP);
    scene.wait_until("the suspension", || starter.is_suspended());
    fs::write(gate, "").expect("a reader");
    // A zombie has no descriptors, but keeps its state.
    scene.wait_until("the daemon's end", || {
        daemon.stat_if_there().is_none_or(|stat| stat.state == 'Z')
    });
    running.signal(libc::SIGCONT);
    running.wait()
}

#[test]
fn b3_a_daemon_that_was_seen_to_die_after_readiness_is_a_failure() {
    for (ending, status) in [("kill=9", 137), ("exit=3", 3)] {
        let started = ended_unseen(ending);
        started.assert_exited(status);
    }
}

#[test]
fn b3_one_that_has_done_its_work_is_none() {
    ended_unseen("exit=0").assert_exited(0);
}

#[test]
fn b9_orphans_by_the_thousand_are_reaped_while_the_starter_waits() {
    require!(root());
    let scene = Scene::new();
    // The kernel counts the processes of each user: this one is of this run alone.
    let user = 1_000_000 + std::process::id();
    let launch = rough(&scene)
        .ordinary(user)
        .rlimit(Resource::RLIMIT_NPROC, 400, 400)
        .limit(PROMPT * 8);
    let dir = scene.dir("run", 0o755, Some(user));
    let launch = launch
        .set("pidfile", dir.join("pid"))
        .arg("init:orphans=3000");
    launch.run().assert_ready();
    scene.stop(&scene.daemon());
}

#[test]
fn b9_children_from_before_are_left_alone() {
    let scene = Scene::new();
    // The shell's child has ended when the starter waits; whoever becomes its parent finds the
    // zombie.
    let script = "true & sleep 1000 >/dev/null 2>&1 & exec \"$0\" \"$@\"";
    let launch = scene
        .launch("/bin/sh")
        .args(["-c", script])
        .arg(bin("rough"))
        .set("pidfile", scene.pidfile());
    launch
        .arg("init:sh=(true &); (true &); sleep 0.2")
        .run()
        .assert_ready();
    let others = scene
        .processes()
        .iter()
        .filter(|process| process.name().as_deref() == Some("sleep"))
        .count();
    assert_eq!(others, 1, "{}", scene.tree());
}

/// A failed start in a pid namespace whose /proc is the outer one's. The numbers that it reads
/// there are others' here.
#[test]
fn d4_bystanders_with_neighbouring_pids_live() {
    const BYSTANDERS: usize = 300;
    require!(root());
    let scene = Scene::new();
    // The shell's own number in the outer namespace is where the daemon's will be, after the
    // bystanders.
    let script = format!(
        "read outer rest </proc/self/stat; echo $((outer + 100)) >/proc/sys/kernel/ns_last_pid
         i=0; while [ $i -lt {BYSTANDERS} ]; do sleep 1000 & all=\"$all $!\"; i=$((i+1)); done
         \"$@\" init:'sh=setsid sleep 1000 & :' init:err=no; echo status $?; kill -0 $all && echo all live"
    );
    let started = in_namespaces(&scene, &["--pid", "--fork"], &script)
        .limit(PROMPT * 4)
        .run();
    assert!(
        started.stdout.contains("status 1\nall live\n"),
        "{started:?}"
    );
    scene.wait_until("the end of the namespace", || scene.processes().is_empty());
}

#[test]
fn d4_what_init_has_started_ends_there_too() {
    require!(root());
    let scene = Scene::new();
    let pid = scene.path("pid").display().to_string();
    let away = format!(
        "setsid sh -c 'echo $$ >{pid}; exec sleep 1000' & while [ ! -s {pid} ]; do sleep 0.01; done"
    );
    let script = format!(
        "\"$@\" \"init:sh=$AWAY\" init:err=no; echo status $?; kill -0 $(cat {pid}) && echo alive; echo end"
    );
    let started = in_namespaces(&scene, &["--pid", "--fork"], &script)
        .env("AWAY", away)
        .run();
    assert_eq!(started.stdout, "status 1\nend\n", "{started:?}");
}
