//! `port_tunnel`: descriptors, environment, groups, threads.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use daemon_harness::{Launch, Proc, Scene, bin, errno_text, require};
use daemon_tests::svc::{barrier, named_daemon, refused};

use super::leading_to;

const NOBODY: u32 = 65534;

/// A machine with two devices that only root can open, and a caller that has a tunnel at 300 and
/// something else at 301.
struct Machine {
    scene: Scene,
    tun: PathBuf,
    other: PathBuf,
    devices: [PathBuf; 2],
}

impl Machine {
    fn new() -> Self {
        let scene = Scene::new();
        let devices = ["first", "second"].map(|name| {
            let device = scene.file(name, "");
            fs::set_permissions(&device, Permissions::from_mode(0o600)).unwrap();
            device
        });
        Self {
            tun: barrier(&scene, "tun"),
            other: scene.file("other", ""),
            devices,
            scene,
        }
    }

    fn launch(&self) -> Launch<'_> {
        let launch = self.scene.launch(bin("port_tunnel"));
        let launch = launch
            .descriptor(300, &self.tun)
            .descriptor(301, &self.other)
            .env("SECRET", "hunter2")
            .groups([0, 4, 27]);
        let launch = launch.arg("--pidfile").arg(self.scene.pidfile());
        launch.arg("--log").arg(self.log()).args(&self.devices)
    }

    fn log(&self) -> PathBuf {
        self.scene.path("log")
    }

    /// It is nobody, has the tunnel and the devices, and forwards.
    #[track_caller]
    fn assert_works(&self, daemon: &Proc) {
        let status = daemon.status();
        let (users, groups) = (
            [status.ruid, status.euid, status.suid, status.fuid],
            [status.rgid, status.egid, status.sgid, status.fgid],
        );
        assert_eq!((users, groups), ([NOBODY; 4], [NOBODY; 4]));
        assert!(status.groups.iter().all(|group| *group == NOBODY));
        assert_eq!((status.capprm, status.capeff), (0, 0));

        let tun = &daemon.descriptors()[&300];
        assert_eq!(tun.target, self.tun);
        assert!(tun.cloexec());
        self.assert_forwards();
        for device in &self.devices {
            assert_eq!(leading_to(daemon, device).len(), 1);
        }
    }

    #[track_caller]
    fn assert_forwards(&self) {
        let mut tun = OpenOptions::new().write(true).open(&self.tun).unwrap();
        tun.write_all(b"packet\n").unwrap();
        let arrived = |device| fs::read_to_string(device).is_ok_and(|text| text == "packet\n");
        self.scene
            .wait_until("the packet", || self.devices.iter().all(arrived));
    }
}

#[test]
fn the_descriptor_is_given_by_number() {
    require!(root());
    let ways: [(&[&str], Option<&str>, &str); 3] = [
        (&["--tun-fd", "300"], None, "Err(NotPresent)"),
        (&["--tun-fd=300"], None, "Err(NotPresent)"),
        (&[], Some("300"), "Ok(\"300\")"),
    ];
    for (arguments, variable, seen) in ways {
        let machine = Machine::new();
        let mut launch = machine.launch().args(arguments);
        if let Some(variable) = variable {
            launch = launch.env("WG_TUN_FD", variable);
        }
        let starter = launch.run();
        starter.assert_ready();
        let daemon = machine.scene.daemon();
        let word = format!("the tunnel is up: {}\n", daemon.pid());
        assert_eq!(starter.stdout, word);
        machine.assert_works(&daemon);
        assert!(leading_to(&daemon, &machine.other).is_empty());
        assert!(!daemon.memory_contains(b"hunter2"));
        machine.scene.wait_until("its environment", || {
            fs::read_to_string(machine.log()).is_ok_and(|log| log.contains(seen))
        });
        machine.scene.stop(&daemon);
        machine.scene.assert_no_leftovers();
    }
}

#[test]
fn in_the_foreground_it_is_the_same() {
    require!(root());
    let machine = Machine::new();
    let running = machine.launch().args(["-f", "--tun-fd", "300"]).spawn();
    let in_main = || fs::read_to_string(machine.log()).is_ok() || running.stderr().contains("WG_");
    machine.scene.wait_until("the main loop", in_main);
    let service = named_daemon(&machine.scene);
    assert_eq!(service.pid(), running.pid());
    machine.assert_works(&service);
    machine.scene.stop(&service);
}

/// A thread keeps root's privileges, whatever the process gives up.
#[test]
fn a_thread_that_opened_a_device_and_lingers_is_refused() {
    require!(root());
    let machine = Machine::new();
    let launch = machine.launch().args(["--tun-fd=300", "--linger"]);
    refused(
        launch,
        &machine.scene,
        93,
        &["cannot drop privileges", "thread"],
    );
}

#[test]
fn a_device_that_cannot_be_opened_is_named() {
    require!(root());
    let machine = Machine::new();
    let launch = machine.launch().arg("--tun-fd=300").arg("/no/device");
    let words = ["device /no/device", &errno_text(libc::ENOENT)];
    refused(launch, &machine.scene, 1, &words);
}

#[test]
fn a_tunnel_that_is_not_there_is_named() {
    let machine = Scene::new();
    let cases: [(&[&str], Option<&str>, i32, &str); 4] = [
        (&[], None, 78, "give --tun-fd or WG_TUN_FD"),
        (&["--tun-fd=300"], None, 78, "descriptor 300"),
        (&[], Some("300"), 2, "keep_fds_from"),
        (&["--tun-fd=wg0"], None, 2, "--tun-fd"),
    ];
    for (arguments, variable, status, words) in cases {
        let launch = machine.launch(bin("port_tunnel"));
        let mut launch = launch
            .args(arguments)
            .arg("--pidfile")
            .arg(machine.pidfile());
        if let Some(variable) = variable {
            launch = launch.env("WG_TUN_FD", variable);
        }
        let launch = launch.args([Path::new("--log"), &machine.path("log")]);
        refused(launch, &machine, status, &[words]);
    }
}
