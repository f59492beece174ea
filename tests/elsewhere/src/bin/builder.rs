//! A service without the attribute; and control of another one.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use daemon_rt::control::{Control, Status};
use daemon_rt::{Daemon, NameOrId};

#[allow(unsafe_code)]
fn main() -> ExitCode {
    let mut daemon = Daemon::new();
    daemon.name("builder").user(1).no_user().no_chroot();
    assert_eq!(daemon.get_user(), None::<&NameOrId>);
    let service = daemon.hooks().init(look).main(|| println!("main"));
    // SAFETY: it is the first call that has to do with the process.
    unsafe { daemon.run(service) }
}

fn look() -> io::Result<()> {
    let control = Control::new("other.pid");
    assert!(matches!(control.status(), Ok(Status::Unknown(_))));
    let Err(error) = control.stop(Duration::from_secs(1)) else {
        panic!("it is not available");
    };
    println!("{error}");
    match error.io_error() {
        Some(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        other => Err(io::Error::other(format!("not unsupported: {other:?}"))),
    }
}
