//! The packages of examples/webapp, in machines of its own: installed, upgraded under load, removed
//! (and purged).

use std::fs;
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

/// Upgrades it while 32 clients ask as fast as they can, each time on a new connection.
fn assert_upgraded_without_an_error(machine: &Machine, upgrade: &str) {
    let old = serving(machine);
    let upgrade = format!(
        "wrk -t 1 -c 32 -d 4 --timeout 60s -H 'Connection: close' http://127.0.0.1/ >/srv/wrk & load=$!
        {upgrade}; status=$?
        wait $load; cat /srv/wrk; exit $status"
    );
    let said = machine.sh(&upgrade).expect_success();
    assert!(
        said.contains("requests in") && !said.contains("errors") && !said.contains("Non-2xx"),
        "{said}"
    );
    assert_ne!(serving(machine), old);
}

fn assert_package_works(machine: &Machine) {
    let before = listing(machine);
    machine.run(["dpkg", "-i", PACKAGES[0].1]).expect_success();
    assert_upgraded_without_an_error(machine, &format!("dpkg -i {}", PACKAGES[1].1));
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

const RPMS: [(&str, &str); 2] = [("1.0", "/srv/old.rpm"), ("1.1", "/srv/new.rpm")];
/// With a database of its own, in which no other package is.
const RPM: &str = "rpm --force-debian --dbpath /srv/rpm --nodeps";

/// This machine, with both packages for RPM.
fn root_with_rpms() -> Root {
    let directory = tempfile::tempdir().expect("a directory");
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/packaging/webapp.spec");
    let spec = fs::read_to_string(spec).expect("the example");
    let mut root = Root::new().empty("/srv");
    for (version, path) in RPMS {
        let written = directory.path().join("webapp.spec");
        fs::write(
            &written,
            spec.replace("Version: 0.1.0", &format!("Version: {version}")),
        )
        .expect("a file");
        let built = Command::new("rpmbuild")
            .arg("-bb")
            .arg("--define")
            .arg(format!("_topdir {}", directory.path().display()))
            .arg("--define")
            .arg(format!("_tmppath {}", directory.path().display()))
            .arg("--define")
            .arg(format!("program {}", example("webapp").display()))
            .arg(&written)
            .output()
            .expect("rpmbuild");
        assert!(built.status.success(), "{built:?}");
        let name = format!(
            "RPMS/{0}/webapp-{version}-1.{0}.rpm",
            std::env::consts::ARCH
        );
        root = root.copy(path, directory.path().join(name));
    }
    root
}

/// Neither rpm nor a command of the package's scripts says that something has failed.
#[track_caller]
fn rpm(machine: &Machine, arguments: &str) {
    let done = machine.sh(&format!("{RPM} {arguments}"));
    let complains = ["ailed", "annot", "an't"].map(|word| done.stderr.contains(word));
    assert!(done.success() && complains == [false; 3], "{done}");
}

/// What is installed is enabled and not started, as is usual there.
#[test]
fn an_rpm_under_systemd() {
    require!(machine(), tool("rpmbuild"), tool("wrk"), tool("systemctl"));
    let machine = Systemd::boot(root_with_rpms());
    let before = listing(&machine);
    rpm(&machine, "-i /srv/old.rpm");
    assert!(machine.pids("webapp").is_empty());
    let units = ["webapp-http.socket", "webapp.service"];
    for unit in units {
        machine.systemctl(["is-enabled", unit]).expect_success();
    }
    machine
        .systemctl(["start"].iter().chain(&units))
        .expect_success();
    assert_upgraded_without_an_error(&machine, &format!("{RPM} -U /srv/new.rpm"));
    rpm(&machine, "-e webapp");
    assert!(machine.pids("webapp").is_empty());
    // The log stays, as is usual.
    machine.sh("rm -f /var/log/webapp.log").expect_success();
    assert_eq!(listing(&machine), before);
}

/// As when an image is made.
#[test]
fn an_rpm_where_systemd_does_not_run() {
    require!(machine(), tool("rpmbuild"), tool("systemctl"));
    let machine = Machine::boot_with(root_with_rpms(), ["bash", "-c", PLAIN_INIT]);
    let before = listing(&machine);
    rpm(&machine, "-i /srv/old.rpm");
    machine
        .sh("systemctl is-enabled webapp.service")
        .expect_success();
    rpm(&machine, "-U /srv/new.rpm");
    machine.sh("webapp --version").expect_success();
    rpm(&machine, "-e webapp");
    assert_eq!(listing(&machine), before);
}
