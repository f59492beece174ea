//! Capability sets and securebits: set explicitly, whatever was inherited.

use std::fs;

use daemon_harness::{Launch, Scene, bin, require};

use daemon_tests::svc::{refused, started};

use crate::{
    NOBODY, as_nobody, assert_capabilities, assert_is, groups_of, in_namespaces, open_to_all,
};

const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_SETUID: u32 = 7;
const CAP_SETPCAP: u32 = 8;
const CAP_NET_BIND_SERVICE: u32 = 10;
const CAP_SYS_ADMIN: u32 = 21;

// Of <linux/securebits.h>; each has a lock at the next bit.
const NO_SETUID_FIXUP: u32 = 1 << 2;
const KEEP_CAPS: u32 = 1 << 4;
const NO_CAP_AMBIENT_RAISE: u32 = 1 << 6;

/// A bit and its lock.
fn locked(bit: u32) -> u32 {
    bit | bit << 1
}

/// Started by root in these surroundings, to run as nobody, it has these capabilities and no way to
/// others.
fn assert_nobody_has(surroundings: impl FnOnce(Launch<'_>) -> Launch<'_>, kept: u64) {
    let scene = Scene::new();
    let daemon = started(surroundings(as_nobody(&scene)).arg("init:regain"), &scene);
    assert_is(&daemon, NOBODY, NOBODY, &groups_of("nobody"));
    assert_capabilities(&daemon, kept);
}

#[test]
fn e36_nobody_has_no_capability_from_a_full_bounding_set() {
    require!(root());
    assert_nobody_has(|launch| launch, 0);
}

#[test]
fn e36_nor_by_inheritance() {
    require!(root());
    assert_nobody_has(
        |launch| launch.inheritable([CAP_DAC_OVERRIDE, CAP_SYS_ADMIN]),
        0,
    );
    assert_nobody_has(
        |launch| launch.ambient([CAP_DAC_OVERRIDE, CAP_SYS_ADMIN]),
        0,
    );
}

#[test]
fn e36_nor_by_securebits() {
    require!(root());
    assert_nobody_has(|launch| launch.securebits(NO_SETUID_FIXUP), 0);
    assert_nobody_has(|launch| launch.securebits(locked(NO_SETUID_FIXUP)), 0);
    assert_nobody_has(|launch| launch.securebits(locked(KEEP_CAPS)), 0);
    let all = NO_SETUID_FIXUP | KEEP_CAPS | locked(NO_CAP_AMBIENT_RAISE);
    assert_nobody_has(|launch| launch.securebits(all).ambient([]), 0);
}

#[test]
fn e36_nor_by_all_of_them_together() {
    require!(root());
    let ambient = [CAP_SETUID, CAP_SYS_ADMIN];
    assert_nobody_has(
        |launch| {
            launch
                .ambient(ambient)
                .securebits(locked(NO_SETUID_FIXUP) | KEEP_CAPS)
        },
        0,
    );
}

#[test]
fn e36_inherited_securebits_are_cleared() {
    require!(root());
    let scene = Scene::new();
    let bits = open_to_all(&scene).join("securebits");
    let launch = as_nobody(&scene).securebits(NO_SETUID_FIXUP | KEEP_CAPS | NO_CAP_AMBIENT_RAISE);
    started(launch.set("init:securebits", &bits), &scene);
    assert_eq!(fs::read_to_string(bits).unwrap(), "0");
}

/// The root of many a container.
#[test]
fn e36_root_with_few_capabilities_can_drop_them() {
    require!(root());
    assert_nobody_has(
        |launch| launch.bounding_without([CAP_SETPCAP, CAP_SYS_ADMIN]),
        0,
    );
}

#[test]
fn an_ordinary_user_loses_what_it_inherits_where_a_user_is_set() {
    require!(root());
    let scene = Scene::new();
    let daemon = started(
        as_nobody(&scene)
            .ordinary(NOBODY)
            .ambient([CAP_DAC_OVERRIDE, CAP_SYS_ADMIN]),
        &scene,
    );
    assert_capabilities(&daemon, 0);
}

#[test]
fn exactly_the_capabilities_that_were_asked_for_are_kept() {
    require!(root());
    let bind = 1 << CAP_NET_BIND_SERVICE;
    assert_nobody_has(
        |launch| launch.set("capabilities", "CAP_NET_BIND_SERVICE"),
        bind,
    );
    let several = "CAP_NET_BIND_SERVICE,CAP_IPC_LOCK,CAP_CHECKPOINT_RESTORE";
    assert_nobody_has(
        |launch| launch.set("capabilities", several),
        bind | 1 << 14 | 1 << 40,
    );
}

#[test]
fn exactly_these_whatever_was_inherited() {
    fn bind(launch: Launch<'_>) -> Launch<'_> {
        launch.set("capabilities", "CAP_NET_BIND_SERVICE")
    }
    require!(root());
    assert_nobody_has(
        |launch| bind(launch).ambient([CAP_SYS_ADMIN]),
        1 << CAP_NET_BIND_SERVICE,
    );
    assert_nobody_has(
        |launch| bind(launch).securebits(NO_SETUID_FIXUP | KEEP_CAPS),
        1 << CAP_NET_BIND_SERVICE,
    );
    assert_nobody_has(
        |launch| bind(launch).securebits(locked(NO_SETUID_FIXUP)),
        1 << CAP_NET_BIND_SERVICE,
    );
}

#[test]
fn what_is_kept_is_not_handed_on() {
    require!(root());
    let scene = Scene::new();
    let status = open_to_all(&scene).join("status");
    let command = format!("cat /proc/self/status >{}", status.display());
    started(
        as_nobody(&scene)
            .set("capabilities", "CAP_NET_BIND_SERVICE")
            .set("init:sh", command),
        &scene,
    );
    assert!(
        fs::read_to_string(status)
            .unwrap()
            .contains("CapEff:\t0000000000000000\n")
    );
}

/// In a network of its own, so that nobody else has the port, and it is a low one there.
#[test]
fn with_its_capability_a_low_port_can_be_bound() {
    require!(root());
    let scene = Scene::new();
    let service = || in_namespaces(&scene, &["--net"], "ip link set lo up").set("user", "nobody");
    let low_port = || service().arg("init:bind=127.0.0.1:80");
    refused(low_port(), &scene, 1, &["Permission denied"]);
    refused(
        low_port().set("capabilities", "CAP_NET_RAW"),
        &scene,
        1,
        &["Permission denied"],
    );
    started(
        low_port().set("capabilities", "CAP_NET_BIND_SERVICE"),
        &scene,
    )
    .kill();
    started(service().arg("privileged_init:bind=127.0.0.1:80"), &scene).kill();
}

#[test]
fn the_capabilities_that_would_give_everything_back_are_refused() {
    require!(root());
    let scene = Scene::new();
    for name in ["CAP_SETUID", "CAP_SETGID"] {
        refused(
            as_nobody(&scene).set("capabilities", name),
            &scene,
            2,
            &[name, "root again"],
        );
        let among_others = format!("CAP_CHOWN,{name}");
        refused(
            as_nobody(&scene).set("capabilities", among_others),
            &scene,
            2,
            &[name, "root again"],
        );
    }
}

#[test]
fn unknown_capabilities_are_refused() {
    let scene = Scene::new();
    for name in [
        "CAP_NONSENSE",
        "NET_BIND_SERVICE",
        "cap_net_bind_service",
        "CAP_",
        " CAP_CHOWN",
        r"CAP_CHOWN\0",
    ] {
        let launch = scene
            .launch(bin("svc"))
            .set("user", "root")
            .set("capabilities", name);
        refused(launch, &scene, 2, &["capability", &name.replace(r"\0", "")]);
    }
}

#[test]
fn capabilities_without_a_user_are_refused() {
    require!(root());
    let scene = Scene::new();
    let launch = scene
        .launch(bin("svc"))
        .set("capabilities", "CAP_NET_BIND_SERVICE");
    refused(launch, &scene, 2, &["capabilities", "set `user`"]);
}

/// For root they are a limit.
#[test]
fn root_keeps_only_these() {
    require!(root());
    let scene = Scene::new();
    let launch = scene
        .launch(bin("svc"))
        .set("user", "root")
        .set("capabilities", "CAP_NET_BIND_SERVICE");
    assert_capabilities(&started(launch, &scene), 1 << CAP_NET_BIND_SERVICE);
}

#[test]
fn what_the_caller_has_not_cannot_be_kept() {
    require!(root());
    let scene = Scene::new();
    let bind = || as_nobody(&scene).set("capabilities", "CAP_NET_BIND_SERVICE");
    refused(
        bind().bounding_without([CAP_NET_BIND_SERVICE]),
        &scene,
        93,
        &["capabilities", "Operation not permitted"],
    );
    refused(
        bind().securebits(KEEP_CAPS << 1),
        &scene,
        93,
        &["capabilities", "Operation not permitted"],
    );
    refused(
        bind().ordinary(NOBODY),
        &scene,
        93,
        &["capabilities", "Operation not permitted"],
    );
}
