//! The directory of the service's own.

use std::fs;

use daemon_harness::managers::{Machine, Ran, Root, Systemd, wait_until};
use daemon_harness::{Scene, bin, require};
use daemon_tests::svc::started;

use crate::{NOBODY, mode_and_owner};

const DIRECTORY: &str = "/run/greeter";
const START: &str = "svc name=greeter runtime_directory= pidfile=/run/greeter.pid";

fn root() -> Root {
    Root::new().copy("/usr/bin/svc", bin("svc"))
}

#[track_caller]
fn refused(ran: &Ran, status: i32, words: &str) {
    assert!(ran.status == status && ran.stderr.contains(words), "{ran}");
}

#[test]
fn it_is_made_for_the_services_user() {
    require!(machine());
    let machine = Machine::boot(root());
    let start = format!("umask 077; {START} user=nobody init:listen=/run/greeter/socket init:own");
    let owner = || mode_and_owner(machine.path(DIRECTORY));
    for _ in 0..2 {
        machine.sh(&start).expect_success();
        assert_eq!(owner(), (0o755, NOBODY));
        let pid = fs::read_to_string(machine.path("/run/greeter.pid")).expect("it runs");
        // A start that finds it running changes nothing.
        refused(&machine.sh(&format!("{START} user=daemon")), 80, &pid);
        assert_eq!(owner(), (0o755, NOBODY));
        machine.sh(&format!("kill {pid}")).expect_success();
        wait_until("the end of the service", || {
            machine.pids("svc").is_empty().then_some(())
        });
        fs::remove_file(machine.path("/run/greeter/socket")).expect("a socket");
    }
}

#[test]
fn privileged_init_has_it_too() {
    require!(machine());
    let machine = Machine::boot(root());
    let look = "privileged_init:sh='stat -c %u /run/greeter >/run/greeter/seen'";
    let start = format!("{START} user=nobody {look}");
    machine.sh(&start).expect_success();
    assert_eq!(machine.wait_for_text("/run/greeter/seen"), "65534\n");
}

#[test]
fn in_the_foreground_as_well() {
    require!(machine());
    let machine = Machine::boot(root());
    let start =
        format!("DAEMON_MODE=foreground {START} user=nobody init:print= init:own main:exit=0");
    assert_eq!(machine.sh(&start).expect_success(), DIRECTORY);
    assert_eq!(mode_and_owner(machine.path(DIRECTORY)), (0o755, NOBODY));
}

#[test]
fn that_of_systemd_is_given_to_the_services_user() {
    require!(machine());
    let unit = format!(
        "[Service]\nType=notify\nRuntimeDirectory=greeter\nExecStart=/usr/bin/{START} user=nobody\n"
    );
    let root = root().text("/etc/systemd/system/greeter.service", unit);
    let machine = Systemd::boot(root);
    machine.systemctl(["start", "greeter"]).expect_success();
    assert_eq!(mode_and_owner(machine.path(DIRECTORY)), (0o755, NOBODY));
    machine.systemctl(["stop", "greeter"]).expect_success();
    assert!(!machine.path(DIRECTORY).exists());
}

/// Made by systemd or, where its variable would move the pidfile, by the service in its sandbox.
#[test]
fn the_units_that_unit_prints_have_it() {
    require!(machine());
    let root = Root::new().copy("/usr/bin/settable", bin("settable"));
    let machine = Systemd::boot(root);
    for pidfile in ["", "/run/greeter.pid"] {
        let settable = format!(
            "settable --set name=greeter --set user=nobody --set runtime_directory= --set pidfile={pidfile}"
        );
        let unit = machine.sh(&format!("{settable} unit systemd"));
        machine.rewrite("greeter.service", &unit.expect_success());
        machine.systemctl(["start", "greeter"]).expect_success();
        assert_eq!(mode_and_owner(machine.path(DIRECTORY)), (0o755, NOBODY));
        // A shell finds the service where the unit has put its pidfile.
        machine.sh(&format!("{settable} status")).expect_success();
        machine.systemctl(["stop", "greeter"]).expect_success();
        machine.sh("rm -rf /run/greeter").expect_success();
    }
}

#[test]
fn one_that_another_uses_is_not_taken_away() {
    require!(machine());
    let machine = Machine::boot(root());
    let make = "mkdir /run/greeter && touch /run/greeter/file && chown daemon /run/greeter";
    machine.sh(make).expect_success();
    let words = "cannot make the directory of the service: /run/greeter: it belongs to user id 1, and is not empty";
    for user in ["", "user=nobody"] {
        refused(&machine.sh(&format!("{START} {user}")), 93, words);
    }
    machine.sh("rm /run/greeter/file").expect_success();
    refused(&machine.sh(START), 93, "it belongs to user id 1\n");
    machine.sh(&format!("{START} user=nobody")).expect_success();
    assert_eq!(mode_and_owner(machine.path(DIRECTORY)).1, NOBODY);
}

#[test]
fn root_is_not_led_elsewhere() {
    require!(machine());
    let machine = Machine::boot(root());
    for make in ["ln -s /tmp/elsewhere /run/greeter", "touch /run/greeter"] {
        machine
            .sh(&format!("mkdir -p /tmp/elsewhere; {make}"))
            .expect_success();
        let ran = machine.sh(&format!("{START} user=nobody"));
        refused(
            &ran,
            93,
            "cannot make the directory of the service: /run/greeter: ",
        );
        assert_eq!(mode_and_owner(machine.path("/tmp/elsewhere")).1, 0);
        machine.sh("rm /run/greeter").expect_success();
    }
}

#[test]
fn the_pidfile_can_be_in_it_unless_the_user_could_exchange_it() {
    require!(machine());
    let machine = Machine::boot(root());
    let start = START.replace("/run/greeter.pid", "/run/greeter/pid");
    let words =
        "invalid setting: pidfile \"/run/greeter/pid\": must not be in the runtime directory";
    refused(&machine.sh(&format!("{start} user=nobody")), 2, words);
    machine.sh(&start).expect_success();
    assert_eq!(mode_and_owner(machine.path(DIRECTORY)), (0o755, 0));
    let pid = machine.wait_for_text("/run/greeter/pid");
    refused(&machine.sh(&start), 80, pid.trim());
}

#[test]
fn an_ordinary_user_has_it_in_the_users_own() {
    require!(root());
    let scene = Scene::new();
    let own = scene.dir("own", 0o700, Some(NOBODY));
    let launch = scene
        .launch(bin("svc"))
        .ordinary(NOBODY)
        .env("XDG_RUNTIME_DIR", &own)
        .umask(0o077)
        .args(["name=greeter", "pidfile=", "runtime_directory="])
        .arg(format!("init:listen={}/greeter/socket", own.display()));
    let daemon = started(launch, &scene);
    let directory = own.join("greeter");
    assert_eq!(mode_and_owner(&directory), (0o755, NOBODY));
    assert!(own.join("greeter.pid").exists());
    scene.stop(&daemon);
}

#[test]
fn one_that_everyone_can_write_is_refused() {
    require!(machine());
    let machine = Machine::boot(root());
    machine
        .sh("mkdir -m 1777 /run/greeter && chown nobody /run/greeter")
        .expect_success();
    let ran = machine.sh(&format!("{START} user=nobody"));
    refused(&ran, 93, "/run/greeter: it can be written by everyone");
}

#[test]
fn one_for_the_state_is_made_in_the_same_way() {
    require!(machine());
    let machine = Machine::boot(root());
    let start = "svc name=greeter pidfile=/run/greeter.pid state_directory= user=nobody init:write=/var/lib/greeter/note";
    machine.sh(&format!("umask 077; {start}")).expect_success();
    let directory = machine.path("/var/lib/greeter");
    assert_eq!(mode_and_owner(&directory), (0o755, NOBODY));
    assert_eq!(mode_and_owner(directory.join("note")).1, NOBODY);
    let other = "svc name=greeter state_directory= user=daemon";
    refused(
        &machine.sh(other),
        93,
        "/var/lib/greeter: it belongs to user id 65534, and is not empty",
    );
}

/// Under systemd it is made before the service, which may write nowhere else.
#[test]
fn the_units_that_unit_prints_have_one_for_the_state() {
    require!(machine());
    let settings = "--set state_directory= --set user=nobody";
    for pidfile in ["", "--set pidfile=/run/settable.pid"] {
        let machine = Systemd::boot(Root::new().copy("/usr/bin/settable", bin("settable")));
        let print = format!(
            "settable {settings} {pidfile} unit systemd >/etc/systemd/system/settable.service"
        );
        machine.sh(&print).expect_success();
        machine.systemctl(["start", "settable"]).expect_success();
        let directory = machine.path("/var/lib/settable");
        assert_eq!(mode_and_owner(&directory), (0o755, NOBODY), "{pidfile}");
        machine.systemctl(["restart", "settable"]).expect_success();
        assert_eq!(mode_and_owner(&directory), (0o755, NOBODY), "{pidfile}");
    }
}
