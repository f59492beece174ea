//! What lies next to A1 and A2: requests that `configure` asks for, threads that wait for signals,
//! forked children.

use std::os::unix::process::ExitStatusExt;

use daemon_harness::Proc;

use crate::Service;
use crate::listeners::all_hear;

#[test]
fn a1_what_configure_asks_for_is_the_daemons() {
    for (name, signal) in [("SIGTERM", libc::SIGTERM), ("SIGINT", libc::SIGINT)] {
        all_hear(
            &["configure:asks", "init:shutdown"],
            &["shutdown -".to_owned()],
            signal,
        );
        let flag = format!("configure:flag={name}");
        let heard = [format!("flag {name}"), "shutdown -".to_owned()];
        all_hear(&[&flag, "configure:asks", "init:shutdown"], &heard, signal);
    }
    all_hear(
        &["configure:asks", "init:reloads"],
        &["reloads SIGHUP".to_owned()],
        libc::SIGHUP,
    );
}

#[test]
fn a1_a_thread_that_waits_for_a_signal_hears_it() {
    for (name, signal) in [
        ("SIGTERM", libc::SIGTERM),
        ("SIGINT", libc::SIGINT),
        ("SIGQUIT", libc::SIGQUIT),
    ] {
        all_hear(
            &[&format!("init:sigwait={name}")],
            &[format!("sigwait {name}")],
            signal,
        );
    }
}

#[test]
fn a1_other_signals_are_nobodys_business() {
    for (name, signal) in [
        ("SIGUSR1", libc::SIGUSR1),
        ("SIGUSR2", libc::SIGUSR2),
        ("SIGALRM", libc::SIGALRM),
    ] {
        all_hear(
            &[&format!("init:tokio={name}"), "init:asks"],
            &[format!("tokio {name}")],
            signal,
        );
    }
}

/// An earlier handler keeps what it was installed with.
#[test]
fn a2_a_handler_that_interrupts_calls_still_does() {
    let service = Service::new().with(["init:c_interrupts=SIGTERM", "init:shutdown", "ends=3"]);
    service.launch().run().assert_ready();
    let daemon = service.scene.daemon();
    service.scene.wait_until("the main loop to wait", || {
        daemon.waits_for_pipe(libc::SYS_read)
    });
    assert!(service.scene.stop(&daemon).success());
    let mut notes = service.notes();
    notes.sort();
    assert_eq!(
        notes,
        [
            "c SIGTERM",
            "drained",
            "interrupted SIGTERM",
            "shutdown -",
            "up"
        ]
    );
}

/// The service's daemon and its forked child.
fn family(service: &Service) -> (Proc, Proc) {
    service.launch().run().assert_ready();
    let daemon = service
        .scene
        .pid_in_pidfile()
        .and_then(Proc::new)
        .expect("a daemon");
    service
        .scene
        .wait_until("the child", || service.scene.processes().len() == 2);
    let child = service
        .scene
        .processes()
        .into_iter()
        .find(|process| process.pid() != daemon.pid());
    (daemon, child.expect("a child"))
}

#[test]
fn a2_in_a_forked_child_an_earlier_handler_is_called_and_nothing_else_happens() {
    let listeners = ["init:c=SIGTERM", "init:asks", "init:fork", "init:shutdown"];
    let service = Service::new().with(listeners).with(["ends=3"]).pidfile();
    let (daemon, child) = family(&service);
    child.signal(libc::SIGTERM);
    let count = |line: &str| {
        service
            .notes()
            .iter()
            .filter(|noted| *noted == line)
            .count()
    };
    service
        .scene
        .wait_until("its handler", || count("c SIGTERM") == 1);
    assert!(!child.is_gone() && !daemon.is_gone());
    assert_eq!(service.scene.pid_in_pidfile(), Some(daemon.pid()));
    child.kill();
    // What the child has heard does not count here: one is missing until the end.
    daemon.signal(libc::SIGTERM);
    service.scene.wait_until("the daemon to hear", || {
        (count("c SIGTERM"), count("shutdown -")) == (2, 1)
    });
    daemon.kill();
}

#[test]
fn a2_a_forked_child_without_one_is_ended_and_the_daemon_is_not() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        let service = Service::new()
            .with(["init:asks", "init:fork", "init:shutdown", "ends=1"])
            .pidfile();
        let (daemon, child) = family(&service);
        child.signal(signal);
        child.wait_gone(std::time::Duration::from_secs(10));
        assert_eq!(service.scene.pid_in_pidfile(), Some(daemon.pid()));
        daemon.signal(libc::SIGTERM);
        let status = service.scene.exit_status(&daemon);
        assert!(status.success(), "{status} {:?}", status.signal());
    }
}
