//! A1 and A2: the service's parts and the library listen to the same signals.
//!
//! The witness is what each listener notes, the exit status, and the file system; how many times a
//! line stands there is how often that listener heard.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::Service;

/// How the service is run.
#[derive(Clone, Copy, Debug)]
enum Run {
    Detached,
    Foreground,
}

/// Has the service run, sends it the signal, and returns what was noted and how it ended.
#[track_caller]
fn signalled(service: &Service, run: Run, signal: i32) -> (Vec<String>, ExitStatus) {
    let status = match run {
        Run::Detached => {
            service.launch().run().assert_ready();
            let daemon = service.scene.daemon();
            daemon.signal(signal);
            service.scene.exit_status(&daemon)
        }
        Run::Foreground => {
            let running = service.in_foreground();
            running.signal(signal);
            running.wait().status
        }
    };
    service.scene.assert_no_leftovers();
    assert!(!service.scene.pidfile().exists(), "the pidfile is left");
    let mut notes = service.notes();
    notes.retain(|line| line != "up");
    (notes, status)
}

/// Each of these listeners hears the signal once, then the service drains, and ends with status 0.
#[track_caller]
pub(crate) fn all_hear(listeners: &[&str], heard: &[String], signal: i32) {
    for run in [Run::Detached, Run::Foreground] {
        for pidfile in [true, false] {
            let service = Service::new()
                .with(listeners.iter().copied())
                .with([format!("ends={}", heard.len())]);
            let service = service.with(["hangup_ends="]);
            let service = if pidfile { service.pidfile() } else { service };
            let (mut notes, status) = signalled(&service, run, signal);
            let case = format!("{listeners:?} {run:?} pidfile {pidfile}: {notes:?} {status}");
            assert_eq!(notes.pop().as_deref(), Some("drained"), "{case}");
            notes.sort();
            let mut heard = heard.to_vec();
            heard.sort();
            assert_eq!(notes, heard, "{case}");
            assert!(status.success(), "{case}");
        }
    }
}

const SIGNALS: [(&str, i32); 4] = [
    ("SIGTERM", libc::SIGTERM),
    ("SIGINT", libc::SIGINT),
    ("SIGHUP", libc::SIGHUP),
    ("SIGQUIT", libc::SIGQUIT),
];

fn is_request(signal: i32) -> bool {
    [libc::SIGTERM, libc::SIGINT].contains(&signal)
}

/// What a listener notes of a signal.
fn line(listener: &str, signal: &str) -> String {
    match listener {
        "shutdown" | "ctrlc" => format!("{listener} -"),
        "c_once" => format!("c {signal}"),
        _ => format!("{listener} {signal}"),
    }
}

#[test]
fn a1_a_service_with_a_listener_of_its_own_drains() {
    for listener in ["tokio", "flag", "iterator", "c", "c_info", "c_once"] {
        for (name, signal) in SIGNALS {
            all_hear(
                &[&format!("init:{listener}={name}")],
                &[line(listener, name)],
                signal,
            );
        }
    }
    all_hear(
        &["init:ctrl_c=SIGINT"],
        &[line("ctrl_c", "SIGINT")],
        libc::SIGINT,
    );
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        all_hear(&["init:ctrlc"], &[line("ctrlc", "")], signal);
    }
}

#[test]
fn a1_listeners_from_before_the_start_are_left_alone() {
    for listener in ["flag", "c", "c_info"] {
        for (name, signal) in SIGNALS {
            all_hear(
                &[&format!("configure:{listener}={name}")],
                &[line(listener, name)],
                signal,
            );
        }
    }
}

#[test]
fn a1_several_listeners_of_one_registry_hear() {
    let listeners = [
        "init:tokio=SIGTERM",
        "init:iterator=SIGTERM",
        "init:flag=SIGTERM",
        "init:c=SIGTERM",
    ];
    // A handler that C installs last replaces the others, which are not called.
    all_hear(
        &listeners[..3],
        &["tokio", "iterator", "flag"].map(|name| line(name, "SIGTERM")),
        libc::SIGTERM,
    );
    let with_c = [
        "init:c=SIGTERM",
        "init:tokio=SIGTERM",
        "init:iterator=SIGTERM",
    ];
    all_hear(
        &with_c,
        &["c", "tokio", "iterator"].map(|name| line(name, "SIGTERM")),
        libc::SIGTERM,
    );
    all_hear(&listeners, &[line("c", "SIGTERM")], libc::SIGTERM);
}

#[test]
fn a2_shutdown_leaves_earlier_listeners_their_signals() {
    for listener in ["tokio", "flag", "iterator", "c", "c_info", "c_once"] {
        for (name, signal) in SIGNALS
            .into_iter()
            .filter(|&(_, signal)| is_request(signal))
        {
            let heard = [line(listener, name), line("shutdown", name)];
            all_hear(
                &[&format!("init:{listener}={name}"), "init:shutdown"],
                &heard,
                signal,
            );
        }
    }
    for (name, signal) in SIGNALS
        .into_iter()
        .filter(|&(_, signal)| is_request(signal))
    {
        all_hear(
            &["init:ctrlc", "init:shutdown"],
            &[line("ctrlc", name), line("shutdown", name)],
            signal,
        );
    }
    let heard = [line("ctrl_c", "SIGINT"), line("shutdown", "")];
    all_hear(
        &["init:ctrl_c=SIGINT", "init:shutdown"],
        &heard,
        libc::SIGINT,
    );
}

#[test]
fn a2_shutdown_hears_when_others_come_later() {
    for listener in ["tokio", "flag", "iterator"] {
        for (name, signal) in SIGNALS
            .into_iter()
            .filter(|&(_, signal)| is_request(signal))
        {
            let heard = [line(listener, name), line("shutdown", name)];
            all_hear(
                &["init:shutdown", &format!("init:{listener}={name}")],
                &heard,
                signal,
            );
        }
    }
    let heard = [line("ctrl_c", "SIGINT"), line("shutdown", "")];
    all_hear(
        &["init:shutdown", "init:ctrl_c=SIGINT"],
        &heard,
        libc::SIGINT,
    );
}

#[test]
fn a2_in_the_middle_of_others_it_passes_on_and_is_passed_on_to() {
    let listeners = [
        "init:c_info=SIGTERM",
        "init:shutdown",
        "init:reloads",
        "init:tokio=SIGTERM",
        "init:flag=SIGTERM",
    ];
    let heard = ["c_info", "shutdown", "tokio", "flag"].map(|name| line(name, "SIGTERM"));
    all_hear(&listeners, &heard, libc::SIGTERM);
    let configured = [
        "configure:flag=SIGTERM",
        "init:shutdown",
        "init:tokio=SIGTERM",
    ];
    all_hear(
        &configured,
        &["flag", "shutdown", "tokio"].map(|name| line(name, "SIGTERM")),
        libc::SIGTERM,
    );
}

/// What the documentation of `shutdown` says of handlers that replace the present one and do not
/// call it.
#[test]
fn a2_one_that_replaces_it_without_calling_it_hears_alone() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        all_hear(
            &["init:shutdown", "init:ctrlc"],
            &[line("ctrlc", "")],
            signal,
        );
    }
    all_hear(
        &["init:shutdown", "init:c=SIGTERM"],
        &[line("c", "SIGTERM")],
        libc::SIGTERM,
    );
    // As it says: in the other order both do.
    all_hear(
        &["init:ctrlc", "init:shutdown"],
        &[line("ctrlc", ""), line("shutdown", "")],
        libc::SIGTERM,
    );
}

#[test]
fn a1_the_signals_that_nobody_listens_to_end_it_all_the_same() {
    let others = |mine| SIGNALS.into_iter().filter(move |&(name, _)| name != mine);
    for (listened, _) in SIGNALS {
        for (name, signal) in others(listened) {
            let service = Service::new()
                .with([format!("init:tokio={listened}")])
                .pidfile();
            let (notes, status) = signalled(&service, Run::Foreground, signal);
            assert_eq!(
                (notes, status.signal()),
                (vec![], Some(signal)),
                "{listened} {name}"
            );
        }
    }
}
