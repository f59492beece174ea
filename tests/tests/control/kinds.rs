//! The kinds of errors, which a program can match.

use std::error::Error as _;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use daemon_harness::{Scene, require};
use daemon_rt::ErrorKind;
use daemon_rt::control::Control;
use daemon_tests::ctl::Ctl;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_service_that_is_not_running() {
    let scene = Scene::new();
    let error = Control::new(scene.pidfile()).reload(PATIENCE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotRunning);
    assert_eq!(error.to_string(), "cannot reload: it is not running");
    assert_eq!(error.step_number(), None);
    let error = Control::new(scene.pidfile()).signal(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotRunning);
}

#[test]
fn a_pidfile_that_another_user_can_write() {
    require!(root());
    let scene = Scene::new();
    let path = scene.file("service.pid", "");
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    let control = Control::new(path);
    for error in [
        control.status().unwrap_err(),
        control.stop(PATIENCE).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");
    }
}

#[test]
fn a_holder_that_cannot_be_told() {
    let scene = Scene::new();
    let path = scene.file("service.pid", "no pid\n");
    let lock = fs::File::open(&path).unwrap();
    lock.lock().unwrap();
    let error = Control::new(path).stop(PATIENCE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
}

#[test]
fn a_signal_that_there_is_not() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    ctl.start();
    let error = Control::new(scene.pidfile()).signal(1000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Command, "{error}");
    let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.raw_os_error(), Some(libc::EINVAL));
    assert_eq!(error.io_error().unwrap().raw_os_error(), Some(libc::EINVAL));
    ctl.succeeds("stop");
}
