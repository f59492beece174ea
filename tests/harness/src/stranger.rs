//! A process that has nothing to do with the service, and gets the number that the service's had.

use std::time::Duration;

use crate::scene::poll;
use crate::{PATIENCE, Proc, enter, sys};

/// A process that does nothing, in a session of its own, and keeps the signals that it gets, so that they can be seen. It
/// ends when it is dropped.
#[derive(Debug)]
pub struct Stranger(Proc);

impl Stranger {
    /// With this pid, from the very moment on in which nobody has it any more.
    pub fn taking(pid: i32) -> Self {
        poll(
            &format!("the number {pid}"),
            PATIENCE,
            || match sys::child_with_pid(pid) {
                Ok(()) => true,
                Err(error) if error.raw_os_error() == Some(libc::EEXIST) => false,
                Err(error) => panic!("pid {pid}: {error}"),
            },
            String::new,
        );
        let stranger = Proc::new(pid).expect("a child of this process");
        let leads = || stranger.stat().session == pid;
        poll("a session", PATIENCE, leads, String::new);
        Self(stranger)
    }

    /// Its pid.
    pub fn pid(&self) -> i32 {
        self.0.pid()
    }

    /// Fails if anybody has sent it a signal.
    #[track_caller]
    pub fn assert_unharmed(&self) {
        assert!(!self.0.is_gone(), "the stranger {} was killed", self.pid());
        let status = self.0.status();
        assert_eq!(
            status.sigpnd | status.shdpnd,
            0,
            "signals of the stranger {}, as a mask",
            self.pid()
        );
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.kill();
        while let Ok(None) = enter::reap(Some(self.pid())) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
