//! E29: who only asks never makes a start fail.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use daemon_harness::{Scene, SetOnDrop};
use daemon_rt::control::{Control, Status};
use daemon_tests::ctl::Ctl;

use crate::id;

#[test]
fn e29_status_by_the_thousand_never_makes_a_start_fail() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    let (control, over, probes) = (
        Control::new(scene.pidfile()),
        AtomicBool::new(false),
        AtomicUsize::new(0),
    );
    let probe = || {
        while !over.load(Ordering::Relaxed) {
            control.status().expect("an answer");
            probes.fetch_add(1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        let asking = [scope.spawn(probe), scope.spawn(probe)];
        let _over = SetOnDrop(&over);
        for _ in 0..20 {
            let pid = id(ctl.start().pid());
            let told = control.status().expect("an answer");
            assert!(
                matches!(told, Status::Running { pid: told, .. } if told == pid),
                "{told:?}"
            );
            ctl.run("start").assert_exited(80);
            ctl.succeeds("stop");
            assert_eq!(control.status().expect("an answer"), Status::NotRunning);
        }
        while probes.load(Ordering::Relaxed) < 5000
            && !asking.iter().any(thread::ScopedJoinHandle::is_finished)
        {
            thread::yield_now();
        }
    });
}
