//! systemd, in every way in which it can run a service: the units are those of
//! `examples/managers/systemd`.

use std::fs;
use std::io::Read;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use daemon_harness::managers::{Root, Systemd, wait_until};
use daemon_harness::{SetOnDrop, errno_text, require};

use crate::greeter::{
    Client, assert_greets, greeter, root, status_of, systemd, wait_until_it_greets, with_greeter,
};

const UNIT: &str = "/etc/systemd/system/greeter.service";

/// It runs as one process, the one that systemd started, and ends when it is asked to, as a
/// success.
fn assert_in_the_foreground(machine: &Systemd) {
    let main = machine.main_pid("greeter").expect("it runs");
    wait_until("the service to be alone", || {
        (machine.processes("greeter") == [main]).then_some(())
    });
    assert_eq!(machine.show("greeter", "ExecMainPID"), main.to_string());
    machine.systemctl(["stop", "greeter"]).expect_success();
    assert_eq!(machine.show("greeter", "ActiveState"), "inactive");
    assert_eq!(
        (
            machine.show("greeter", "Result"),
            machine.show("greeter", "ExecMainStatus")
        ),
        ("success".into(), "0".into())
    );
}

#[test]
fn type_notify_knows_when_it_is_ready() {
    require!(machine());
    let machine = systemd(example!("systemd/notify/greeter.service"));
    machine.systemctl(["start", "greeter"]).expect_success();
    assert_greets(&machine);
    assert_eq!(machine.show("greeter", "ActiveState"), "active");
    assert_in_the_foreground(&machine);
}

#[test]
fn e46_type_simple_runs_it_in_the_foreground() {
    require!(machine());
    let machine = systemd(example!("systemd/simple/greeter.service"));
    machine.systemctl(["start", "greeter"]).expect_success();
    wait_until_it_greets(&machine);
    assert_in_the_foreground(&machine);
}

#[test]
fn e46_type_exec_runs_it_in_the_foreground() {
    require!(machine());
    let machine = systemd(example!("systemd/exec/greeter.service"));
    machine.systemctl(["start", "greeter"]).expect_success();
    wait_until_it_greets(&machine);
    assert_in_the_foreground(&machine);
}

#[test]
fn e46_a_wrapper_that_executes_it_makes_no_difference() {
    require!(machine());
    let wrapped = "ExecStart=/bin/sh -c 'cd / && exec /usr/local/bin/greeter'";
    let unit = example!("systemd/simple/greeter.service")
        .replace("ExecStart=/usr/local/bin/greeter", wrapped);
    let machine = systemd(&unit);
    for kind in ["simple", "exec", "notify"] {
        machine.rewrite("greeter.service", &unit.replace("simple", kind));
        machine.systemctl(["start", "greeter"]).expect_success();
        wait_until_it_greets(&machine);
        assert_in_the_foreground(&machine);
    }
}

#[test]
fn e46_a_wrapper_that_stays_leaves_readiness_to_it() {
    require!(machine());
    let machine = systemd(example!("systemd/wrapper/greeter.service"));
    machine.systemctl(["start", "greeter"]).expect_success();
    assert_greets(&machine);
    let (shell, greeter) = (
        machine.main_pid("greeter").expect("a shell"),
        greeter(&machine),
    );
    assert_eq!(status_of(&machine, greeter, "PPid"), shell.to_string());
    machine.systemctl(["stop", "greeter"]).expect_success();
    assert!(machine.pids("greeter").is_empty());
}

#[test]
fn type_notify_reload_waits_until_it_has_reloaded() {
    require!(
        machine(),
        that(
            Root::debian("trixie").is_some(),
            "needs Debian trixie, unpacked by tests/setup"
        )
    );
    let root = with_greeter(Root::debian("trixie").expect("just seen"))
        .text("/etc/greeter.words", "hello\n");
    let machine = Systemd::boot(root.text(UNIT, example!("systemd/notify-reload/greeter.service")));
    machine.systemctl(["start", "greeter"]).expect_success();
    let mut client = Client::connect(&machine);
    for words in ["hello", "salve", "servus"] {
        fs::write(machine.path("/etc/greeter.words"), words).expect("the configuration");
        machine.systemctl(["reload", "greeter"]).expect_success();
        assert_eq!(client.greeting("world"), format!("{words} world"));
    }
    assert_in_the_foreground(&machine);
}

/// A log that systemd has opened, after logrotate has renamed it.
#[test]
fn e9_a_log_that_it_appends_to_is_opened_again_at_a_reload() {
    require!(machine());
    let log = "/var/log/greeter/greeter.log";
    let reload = "ExecReload=/bin/kill -HUP $MAINPID";
    let unit = example!("systemd/notify/greeter.service").replace(
        "bin/greeter\n",
        &format!("bin/svc init:reloads\n{reload}\nStandardOutput=append:{log}\n"),
    );
    let machine = systemd(&unit);
    fs::create_dir_all(machine.path("/var/log/greeter")).expect("a directory for logs");
    machine.systemctl(["start", "greeter"]).expect_success();
    let read = || fs::read_to_string(machine.path(log)).unwrap_or_default();
    for _ in 0..2 {
        fs::rename(machine.path(log), machine.path(format!("{log}.1"))).expect("rotated");
        machine.systemctl(["reload", "greeter"]).expect_success();
        wait_until("the new log", || (read() == "reloaded\n").then_some(()));
    }
    machine.systemctl(["stop", "greeter"]).expect_success();
}

#[test]
fn e7_a_failed_reload_shows_in_its_status() {
    require!(machine());
    let unit = example!("systemd/notify/greeter.service").replace(
        "bin/greeter\n",
        "bin/greeter words=/etc/greeter.words\nExecReload=/bin/kill -HUP $MAINPID\n",
    );
    let machine = Systemd::boot(
        root()
            .text("/etc/greeter.words", "hello\n")
            .text(UNIT, unit),
    );
    machine.systemctl(["start", "greeter"]).expect_success();
    let status = |text: &str| {
        wait_until(text, || {
            machine
                .show("greeter", "StatusText")
                .contains(text)
                .then_some(())
        });
    };
    let words = machine.path("/etc/greeter.words");
    fs::rename(&words, words.with_extension("old")).expect("a configuration");
    machine.systemctl(["reload", "greeter"]).expect_success();
    status("cannot reload: cannot read /etc/greeter.words: ");
    assert_eq!(Client::connect(&machine).greeting("world"), "hello world");
    fs::write(&words, "salve").expect("a configuration");
    machine.systemctl(["reload", "greeter"]).expect_success();
    wait_until("no failure any more", || {
        machine
            .show("greeter", "StatusText")
            .is_empty()
            .then_some(())
    });
    wait_until("new words", || {
        (Client::connect(&machine).greeting("world") == "salve world").then_some(())
    });
    assert_in_the_foreground(&machine);
}

#[test]
fn type_forking_accepts_the_traditional_daemon() {
    require!(machine());
    let machine = systemd(example!("systemd/forking/greeter.service"));
    machine.systemctl(["start", "greeter"]).expect_success();
    assert_greets(&machine);
    assert_detached(&machine);
}

#[test]
fn type_forking_accepts_it_as_an_ordinary_user_and_from_a_shell() {
    require!(machine());
    let unit = example!("systemd/forking-user/greeter.service");
    let machine = systemd(unit);
    let wrapped = unit
        .replace(
            "ExecStart=/usr/local/bin/greeter",
            "ExecStart=/bin/sh -c 'greeter",
        )
        .replace("user=nobody\n", "user=nobody; exit $?'\n");
    for unit in [unit, &wrapped] {
        machine.rewrite("greeter.service", unit);
        machine.systemctl(["start", "greeter"]).expect_success();
        assert_greets(&machine);
        let pid = machine.main_pid("greeter").expect("it runs");
        assert_eq!(
            status_of(&machine, pid, "Uid"),
            "65534\t65534\t65534\t65534"
        );
        assert_detached(&machine);
    }
}

/// The main process is the one in the pidfile, alone in a session of somebody else's; nothing is
/// left when it is stopped.
fn assert_detached(machine: &Systemd) {
    let pidfile = fs::read_to_string(machine.path("/run/greeter.pid")).expect("a pidfile");
    let main = machine.main_pid("greeter").expect("it runs");
    assert_eq!(pidfile, format!("{main}\n"));
    assert_eq!(machine.processes("greeter"), [main]);
    assert_ne!(status_of(machine, main, "NSsid"), main.to_string());
    machine.systemctl(["stop", "greeter"]).expect_success();
    assert_eq!(machine.show("greeter", "Result"), "success");
    assert!(!machine.path("/run/greeter.pid").exists());
}

#[test]
fn mode_detach_under_type_notify_names_the_main_process() {
    require!(machine());
    let unit = example!("systemd/notify/greeter.service");
    let machine =
        systemd(&unit.replace("Type=notify", "Type=notify\nEnvironment=DAEMON_MODE=detach"));
    machine.systemctl(["start", "greeter"]).expect_success();
    assert_greets(&machine);
    let main = machine.main_pid("greeter").expect("it runs");
    wait_until("the starter's end", || {
        (machine.processes("greeter") == [main]).then_some(())
    });
    assert_ne!(status_of(&machine, main, "NSsid"), main.to_string());
    // How it ends is another matter: the daemon is not systemd's child when it becomes the main
    // process.
    assert_eq!(machine.show("greeter", "ActiveState"), "active");
}

#[test]
fn sockets_are_passed_with_their_names() {
    require!(machine(), tool("python3"));
    let machine = Systemd::boot(
        root()
            .text(UNIT, example!("systemd/activated/greeter.service"))
            .text(
                "/etc/systemd/system/greeter.socket",
                example!("systemd/activated/greeter.socket"),
            )
            .text(
                "/etc/systemd/system/greeter-admin.socket",
                example!("systemd/activated/greeter-admin.socket"),
            ),
    );
    machine
        .systemctl(["start", "greeter.socket", "greeter-admin.socket"])
        .expect_success();
    assert_eq!(machine.show("greeter", "ActiveState"), "inactive");
    assert_greets(&machine);
    assert_eq!(machine.show("greeter", "ActiveState"), "active");

    let _peer = {
        let mut peer = Client::connect(&machine);
        peer.greeting("me");
        peer
    };
    let ask = "import socket as s; c = s.socket(s.AF_UNIX); c.connect('/run/greeter.socket'); print(c.recv(9).decode())";
    wait_until("the other peer to be forgotten", || {
        (machine.run(["python3", "-c", ask]).expect_success().trim() == "1").then_some(())
    });
    // Not bound by itself: the socket unit still listens.
    machine.systemctl(["stop", "greeter"]).expect_success();
    assert_greets(&machine);
}

#[test]
fn e43_a_socket_of_the_wrong_kind_is_a_clear_error() {
    require!(machine());
    let socket =
        example!("systemd/activated/greeter.socket").replace("ListenStream", "ListenDatagram");
    let unit = example!("systemd/activated/greeter.service").replace(" greeter-admin.socket", "");
    let machine = Systemd::boot(
        root()
            .text(UNIT, unit)
            .text("/etc/systemd/system/greeter.socket", socket),
    );
    machine
        .systemctl(["start", "greeter.socket"])
        .expect_success();
    assert!(!machine.systemctl(["start", "greeter"]).success());
    let status = machine.status("greeter");
    assert!(
        status.contains("public from the manager: it is a UDP socket, not a listening TCP socket"),
        "{status}"
    );
}

#[test]
fn the_watchdog_kills_a_service_that_hangs() {
    require!(machine());
    let machine = systemd(example!("systemd/watchdog/greeter.service"));
    machine.systemctl(["start", "greeter"]).expect_success();
    let first = machine.main_pid("greeter").expect("it runs");
    std::thread::sleep(std::time::Duration::from_millis(1500)); // longer than the watchdog waits
    assert_greets(&machine);
    assert_eq!(machine.main_pid("greeter"), Some(first));

    Client::connect(&machine).say("hang");
    machine.wait_for("greeter", "NRestarts", "1");
    machine.wait_for("greeter", "ActiveState", "active");
    assert_ne!(machine.main_pid("greeter"), Some(first));
    assert_greets(&machine);
    let said = machine.sh("journalctl --quiet UNIT=greeter.service").stdout;
    assert!(said.contains("Watchdog timeout"), "{said}");
}

#[test]
fn a_failing_init_shows_in_systemctl_status() {
    require!(machine());
    let text = errno_text(libc::EADDRNOTAVAIL);
    let unit = example!("systemd/simple/greeter.service")
        .replace("/bin/greeter", "/bin/greeter address=192.0.2.1:7007");
    let machine = systemd(&unit);
    for kind in ["notify", "simple"] {
        machine.rewrite("greeter.service", &unit.replace("simple", kind));
        let in_journal = || {
            machine
                .journal("greeter")
                .iter()
                .filter(|entry| entry.message.contains(&text))
                .count()
        };
        let before = in_journal();
        let started = machine.systemctl(["start", "greeter"]);
        assert_eq!(started.success(), kind == "simple");
        machine.wait_for("greeter", "ActiveState", "failed");
        // Without the protocol the text is in the journal alone, and `status` may miss the last
        // words of a process that journald finds gone.
        let told = || {
            let told = match kind {
                "notify" => machine.status("greeter").contains(&text),
                _ => in_journal() > before,
            };
            told.then_some(())
        };
        wait_until("the text", told);
        assert_eq!(machine.show("greeter", "ExecMainStatus"), "1");
        let errors: Vec<_> = machine
            .journal("greeter")
            .into_iter()
            .filter(|entry| entry.priority == 3)
            .collect();
        assert!(
            errors
                .iter()
                .all(|error| error.message.starts_with("greeter: ")),
            "{errors:?}"
        );
        assert!(!errors.is_empty());
        if kind == "notify" {
            assert_eq!(
                machine.show("greeter", "StatusErrno"),
                libc::EADDRNOTAVAIL.to_string()
            );
            assert!(machine.status_text("greeter").contains(&text));
        }
    }
}

#[test]
fn progress_extends_the_time_to_start() {
    require!(machine());
    let machine = systemd(example!("systemd/slow/greeter.service"));
    let starting = machine
        .command(["systemctl", "start", "greeter"])
        .stdout(Stdio::null())
        .spawn()
        .expect("systemctl");
    wait_until("progress", || {
        machine
            .status_text("greeter")
            .contains("warming up: 1 of 3 seconds")
            .then_some(())
    });
    assert_eq!(machine.show("greeter", "ActiveState"), "activating");
    assert!(
        starting
            .wait_with_output()
            .expect("our child")
            .status
            .success()
    );
    assert_greets(&machine);
}

#[test]
fn the_journal_has_severities() {
    require!(machine());
    let machine = systemd(
        "[Service]\nType=oneshot\nExecStart=svc init:status=under-way init:eprintln=plain init:err=wrong\n",
    );
    assert!(!machine.systemctl(["start", "greeter"]).success());
    let said: Vec<_> = machine
        .journal("greeter")
        .into_iter()
        .map(|entry| (entry.priority, entry.message))
        .collect();
    assert!(said.contains(&(6, "plain".to_owned())), "{said:?}");
    assert!(
        said.contains(&(3, "svc: cannot initialize: wrong".to_owned())),
        "{said:?}"
    );
    // Elsewhere there is no prefix: the journal's own variable does not say that stderr leads
    // there.
    let ran = machine
        .sh("DAEMON_MODE=foreground JOURNAL_STREAM=1:2 svc init:status=under-way init:err=wrong");
    assert_eq!(
        (ran.status, ran.stderr.as_str()),
        (1, "svc: under-way\nsvc: cannot initialize: wrong\n")
    );
}

#[test]
fn e46_what_a_shell_or_cron_starts_below_a_service_detaches() {
    require!(machine(), tool("cron"));
    let shells = "sh -c 'greeter pidfile=/run/below.pid address=127.0.0.1:7008; echo $? >/run/below.status'; exec sleep 1000";
    let machine = Systemd::boot(
        root()
            .script(
                "/usr/local/bin/host",
                format!("#!/bin/sh\nsystemd-notify --ready\n{shells}\n"),
            )
            .text(
                "/etc/systemd/system/host.service",
                "[Service]\nType=notify\nNotifyAccess=all\nExecStart=host\n",
            )
            .text(
                "/etc/systemd/system/cron.service",
                "[Service]\nType=simple\nKillMode=process\nExecStart=cron -f\n",
            )
            .empty("/etc/cron.d")
            .empty("/var/spool/cron/crontabs")
            .text("/etc/crontab", "")
            .text("/etc/cron.d/greeter", example!("cron/greeter")),
    );
    machine
        .systemctl(["start", "host", "cron"])
        .expect_success();
    assert_eq!(machine.wait_for_text("/run/below.status"), "0\n");
    for pidfile in ["/run/below.pid", "/run/greeter.pid"] {
        let pid: u32 = machine
            .wait_for_text(pidfile)
            .trim()
            .parse()
            .expect("a pid");
        assert_ne!(status_of(&machine, pid, "NSsid"), pid.to_string());
        wait_until("the starter's end", || {
            (machine.pids("greeter").len() == 2).then_some(())
        });
        // Adopted by PID 1, not a child of what started it.
        assert_eq!(status_of(&machine, pid, "PPid"), "1");
    }
    wait_until_it_greets(&machine);
    // Nor does it tell the host's manager anything.
    assert_eq!(
        machine.main_pid("host"),
        machine.pids("sleep").first().copied()
    );
}

/// `FileDescriptorStoreMax` of the unit.
const STORE: usize = 512;

#[test]
fn a_restart_under_load_loses_no_connection() {
    require!(machine());
    let machine = systemd(example!("systemd/fdstore/greeter.service"));
    machine.systemctl(["start", "greeter"]).expect_success();
    let over = AtomicBool::new(false);
    let greetings: [AtomicUsize; 4] = Default::default();
    let (machine, over) = (&machine, &over);
    std::thread::scope(|scope| {
        let old: Vec<_> = greetings.iter().map(|_| Client::connect(machine)).collect();
        let patient =
            old.into_iter()
                .zip(&greetings)
                .enumerate()
                .map(|(number, (mut client, greetings))| {
                    scope.spawn(move || {
                        while !over.load(Ordering::Relaxed) {
                            assert_eq!(
                                client.greeting(&format!("{number}")),
                                format!("hello {number}")
                            );
                            greetings.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                });
        let patient: Vec<_> = patient.collect();
        let all_are_greeted = || {
            let so_far = greetings
                .each_ref()
                .map(|count| count.load(Ordering::Relaxed));
            let more = || {
                greetings
                    .iter()
                    .zip(so_far)
                    .all(|(count, before)| count.load(Ordering::Relaxed) > before)
            };
            wait_until("a greeting for each client", || more().then_some(()));
        };
        // And new ones meanwhile.
        let new = scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                assert_greets(machine);
                // One that systemd has no room for ends with the service.
                let kept = || {
                    machine
                        .show("greeter", "NFileDescriptorStore")
                        .parse()
                        .unwrap_or(0)
                };
                wait_until("room in the store", || (kept() < STORE / 2).then_some(()));
            }
        });
        let done = SetOnDrop(over);
        let mut mains = vec![machine.main_pid("greeter")];
        for _ in 0..3 {
            all_are_greeted();
            machine.systemctl(["restart", "greeter"]).expect_success();
            mains.push(machine.main_pid("greeter"));
        }
        all_are_greeted();
        drop(done);
        mains.dedup();
        assert_eq!(mains.len(), 4, "four processes, one after the other");
        for client in patient {
            client.join().expect("no connection was lost");
        }
        new.join().expect("no connection was refused");
    });
    // Once its peer is gone a connection is forgotten; the listening socket stays.
    wait_until("the store to shrink", || {
        (machine.show("greeter", "NFileDescriptorStore") == "1").then_some(())
    });
}

#[test]
fn a_ready_service_has_closed_nothing_that_systemd_reads() {
    require!(machine());
    let machine = systemd(example!("systemd/notify/greeter.service"));
    machine.systemctl(["start", "greeter"]).expect_success();
    let pid = machine.main_pid("greeter").expect("it runs");
    let mut environ = String::new();
    let mut file =
        fs::File::open(machine.path(format!("/proc/{pid}/environ"))).expect("its environment");
    file.read_to_string(&mut environ).expect("text");
    // The manager's environment stays in the foreground.
    assert!(environ.contains("INVOCATION_ID="), "{environ}");
    let stderr = fs::read_link(machine.path(format!("/proc/{pid}/fd/2"))).expect("stderr");
    assert!(
        stderr.to_string_lossy().starts_with("socket:"),
        "{}",
        stderr.display()
    );
}
