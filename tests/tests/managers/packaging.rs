//! The Debian package of examples/webapp, in machines of its own: installed, upgraded under load,
//! removed and purged.

use std::path::Path;
use std::process::Command;

use daemon_harness::managers::{Machine, PLAIN_INIT, Root, Systemd};
use daemon_harness::require;
use daemon_tests::built::example;

const PACKAGES: [(&str, &str); 2] = [("1.0", "/srv/old.deb"), ("1.1", "/srv/new.deb")];

/// This machine, with both packages.
fn root() -> Root {
    let directory = tempfile::tempdir().expect("a directory");
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/packaging/build");
    // Images of Debian for containers have one that forbids.
    let allow = "#!/bin/sh\n";
    let mut root = Root::new()
        .empty("/srv")
        .script("/usr/sbin/policy-rc.d", allow);
    for (version, path) in PACKAGES {
        let package = Command::new(&build)
            .arg(directory.path())
            .arg(version)
            .env("WEBAPP", example("webapp"))
            .env("DPKG_DEB_COMPRESSOR_TYPE", "none")
            .output()
            .expect("a shell");
        assert!(package.status.success(), "{package:?}");
        let architecture = Command::new("dpkg").arg("--print-architecture").output();
        let architecture = String::from_utf8(architecture.expect("dpkg").stdout).expect("a word");
        let name = format!("webapp_{version}_{}.deb", architecture.trim());
        root = root.copy(path, directory.path().join(name));
    }
    root
}

/// What there is of the package, and of what its service has left, but for the user.
fn listing(machine: &Machine) -> String {
    machine
        .sh("find /etc /run /usr/lib/sys* /usr/sbin /usr/share /var -name '*webapp*' | sort")
        .expect_success()
}

/// The service's process, which answers.
fn serving(machine: &Machine) -> u32 {
    let fetch = "exec 3<>/dev/tcp/127.0.0.1/80; printf 'GET / HTTP/1.0\r\n\r\n' >&3; cat <&3";
    let said = machine.run(["bash", "-c", fetch]).expect_success();
    assert!(said.contains("It works"), "{said}");
    let pids = machine.pids("webapp");
    let [pid] = pids[..] else { panic!("{pids:?}") };
    let user = machine
        .sh(&format!("ps -o user= -p {pid}"))
        .expect_success();
    assert_eq!(user.trim(), "webapp");
    pid
}

fn assert_package_works(machine: &Machine) {
    let before = listing(machine);
    machine.run(["dpkg", "-i", PACKAGES[0].1]).expect_success();
    let old = serving(machine);
    // 32 clients ask as fast as they can, each time on a new connection.
    let upgrade = format!(
        "wrk -t 1 -c 32 -d 4 --timeout 60s -H 'Connection: close' http://127.0.0.1/ >/srv/wrk & load=$!
        dpkg -i {}; status=$?
        wait $load; cat /srv/wrk; exit $status",
        PACKAGES[1].1
    );
    let said = machine.sh(&upgrade).expect_success();
    assert!(
        said.contains("requests in") && !said.contains("errors") && !said.contains("Non-2xx"),
        "{said}"
    );
    assert_ne!(serving(machine), old);
    machine.run(["dpkg", "-r", "webapp"]).expect_success();
    assert!(machine.pids("webapp").is_empty());
    machine.run(["dpkg", "-P", "webapp"]).expect_success();
    assert_eq!(listing(machine), before);
}

#[test]
fn a_package_under_systemd() {
    require!(machine(), tool("dpkg-deb"), tool("wrk"), tool("systemctl"));
    let machine = Systemd::boot(root());
    assert_package_works(&machine);
}

#[test]
fn a_package_without_systemd() {
    require!(machine(), tool("dpkg-deb"), tool("wrk"));
    let machine = Machine::boot_with(root(), ["bash", "-c", PLAIN_INIT]);
    assert_package_works(&machine);
}
