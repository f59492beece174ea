//! B2: a service that closes the library's descriptors, and gets their numbers for files of its
//! own, keeps these as they are. It hears signals all the same, and neither spins nor waits for
//! ever.

use std::path::PathBuf;
use std::time::Duration;
use std::{fs, thread};

use daemon_harness::{Proc, Scene, bin};

/// Of the hundred of a second: a thread that spins takes all, or its part of a busy machine.
const FEW_TICKS: u64 = 5;

struct Closing {
    scene: Scene,
    own: PathBuf,
}

impl Closing {
    /// It is in its main loop, and has closed and opened what it does.
    fn start(settings: &[&str]) -> (Self, Proc) {
        let scene = Scene::new();
        let own = scene.dir("own", 0o755, None);
        let launch = scene
            .launch(bin("closing"))
            .set("pidfile", scene.pidfile())
            .set("own", &own);
        launch
            .set("stderr", scene.path("log"))
            .args(settings)
            .run()
            .assert_ready();
        let daemon = scene.daemon();
        scene.wait_until("the main loop", || own.join("up").exists());
        (Self { scene, own }, daemon)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.scene.path("log")).unwrap_or_default()
    }

    fn reloads(&self) -> u64 {
        fs::metadata(self.own.join("reloads")).map_or(0, |file| file.len())
    }

    /// Reloads twice, and ends.
    #[track_caller]
    fn hears(&self, daemon: &Proc) {
        for reloads in 1..=2 {
            daemon.signal(libc::SIGHUP);
            self.scene
                .wait_until("a reload", || self.reloads() == reloads);
        }
        daemon.signal(libc::SIGTERM);
        let status = self.scene.exit_status(daemon);
        assert!(status.success(), "{status} {}", self.log());
    }
}

fn ticks(daemon: &Proc) -> u64 {
    let stat = daemon.stat();
    stat.utime + stat.stime
}

#[track_caller]
fn does_not_spin(daemon: &Proc) {
    let before = ticks(daemon);
    thread::sleep(Duration::from_secs(1));
    let taken = ticks(daemon) - before;
    assert!(taken < FEW_TICKS, "{taken} ticks in a second");
}

#[test]
fn b2_no_byte_goes_into_the_services_own_files() {
    for waits in ["waits=thread", "waits=limit", "waits=task"] {
        let (service, daemon) = Closing::start(&["opens=files", waits]);
        does_not_spin(&daemon);
        service.hears(&daemon);
        let lengths = (0..32).map(|number| {
            fs::metadata(service.own.join(format!("file{number}")))
                .unwrap()
                .len()
        });
        assert_eq!(lengths.sum::<u64>(), 0, "{waits}");
    }
}

#[test]
fn b2_nor_is_one_read_from_its_own_pipes() {
    for waits in ["waits=thread", "waits=limit", "waits=task"] {
        let (service, daemon) = Closing::start(&["opens=pipes", waits]);
        does_not_spin(&daemon);
        service.hears(&daemon);
        assert_eq!(
            fs::read_to_string(service.own.join("read")).unwrap(),
            "data".repeat(32),
            "{waits}"
        );
    }
}

/// A thread that waits for a pipe is woken as the pipe is closed. When it runs, the number leads to
/// the writing end of another pipe, which is never readable.
#[test]
fn b2_a_service_whose_own_pipes_replace_the_library_s_in_a_moment_hears_signals() {
    for waits in ["waits=thread", "waits=limit", "waits=task"] {
        let (service, daemon) = Closing::start(&["opens=ends", waits]);
        service.hears(&daemon);
    }
}

#[test]
fn b2_a_service_that_closes_everything_hears_signals_and_does_not_spin() {
    for waits in ["waits=thread", "waits=limit", "waits=task"] {
        let (service, daemon) = Closing::start(&["opens=nothing", waits]);
        does_not_spin(&daemon);
        service.hears(&daemon);
    }
}

/// `reloads` cannot be written: SIGTERM alone is heard.
#[test]
fn b2_a_service_that_may_poll_no_descriptor_hears_signals_and_does_not_spin() {
    let (service, daemon) = Closing::start(&["opens=nothing", "waits=limit", "limits="]);
    does_not_spin(&daemon);
    daemon.signal(libc::SIGTERM);
    let status = service.scene.exit_status(&daemon);
    assert!(status.success(), "{status} {}", service.log());
}
