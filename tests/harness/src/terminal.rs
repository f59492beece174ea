//! A pseudo-terminal: the test sits before it, the processes of the scene are started on it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};

use crate::{PATIENCE, scene};

/// The test's side of a scene's terminal. What is shown on it is read all the time.
pub struct Terminal {
    path: PathBuf,
    screen: Arc<Screen>,
    reader: Mutex<Option<JoinHandle<()>>>,
}

struct Screen {
    master: Mutex<Option<File>>,
    shown: Mutex<Vec<u8>>,
    hung_up: AtomicBool,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let master = posix_openpt(flags).expect("a pseudo-terminal");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let path = ptsname_r(&master).expect("the terminal's name").into();
        let master = Mutex::new(Some(File::from(std::os::fd::OwnedFd::from(master))));
        let screen = Arc::new(Screen {
            master,
            shown: Mutex::default(),
            hung_up: AtomicBool::new(false),
        });
        let reader = thread::spawn({
            let screen = screen.clone();
            move || screen.watch()
        });
        Self {
            path,
            screen,
            reader: Mutex::new(Some(reader)),
        }
    }

    /// `/dev/pts/N`, which a service may open.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All that was shown so far, `\r\n` at the end of lines.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(
            &self
                .screen
                .shown
                .lock()
                .expect("no panic before the screen"),
        )
        .into_owned()
    }

    /// Waits until this is shown.
    pub fn wait_for(&self, text: &str) {
        let what = format!("{text:?} on the terminal");
        scene::poll(
            &what,
            PATIENCE,
            || self.shown().contains(text),
            || self.shown(),
        );
    }

    /// Types: `"\x03"` is Ctrl-C, `"\x1a"` Ctrl-Z, `"\x1c"` Ctrl-\.
    pub fn typed(&self, keys: &str) {
        let mut master = self
            .screen
            .master
            .lock()
            .expect("no panic before the screen");
        master
            .as_mut()
            .expect("a terminal that was not hung up")
            .write_all(keys.as_bytes())
            .expect("typing");
    }

    /// Ctrl-S: whoever writes to the terminal from now on blocks.
    pub fn stop(&self) {
        self.typed("\x13");
        self.wait_writable(false);
    }

    /// Ctrl-Q: output goes on.
    pub fn resume(&self) {
        self.typed("\x11");
        self.wait_writable(true);
    }

    /// The kernel takes its time to see what was typed; then the other side can, or cannot, be
    /// written.
    fn wait_writable(&self, writable: bool) {
        let side = OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_NOCTTY)
            .open(&self.path)
            .expect("the terminal");
        let is_writable = || {
            let mut polled = [PollFd::new(side.as_fd(), PollFlags::POLLOUT)];
            poll(&mut polled, PollTimeout::ZERO).expect("poll") > 0
        };
        scene::poll(
            "the terminal",
            PATIENCE,
            || is_writable() == writable,
            || self.shown(),
        );
    }

    /// The window is closed, or the line drops: the shell gets SIGHUP and passes it on to its jobs,
    /// and every use of the terminal fails.
    pub fn hang_up(&self) {
        self.screen.hung_up.store(true, Ordering::SeqCst);
        if let Some(reader) = self
            .reader
            .lock()
            .expect("no panic before the screen")
            .take()
        {
            reader.join().expect("no panic before the screen");
        }
    }
}

impl Screen {
    /// Reads what is shown, until hung up; then closes this side, which is what hangs up the other.
    fn watch(&self) {
        while !self.hung_up.load(Ordering::SeqCst) {
            let mut text = [0; 4096];
            let mut master = self.master.lock().expect("no panic before the screen");
            let read = master.as_mut().expect("closed only below").read(&mut text);
            drop(master);
            match read {
                Ok(length @ 1..) => {
                    self.shown
                        .lock()
                        .expect("no panic before the screen")
                        .extend_from_slice(&text[..length]);
                }
                // Nothing to read; or nobody has the other side open.
                _ => thread::sleep(Duration::from_millis(2)),
            }
        }
        drop(
            self.master
                .lock()
                .expect("no panic before the screen")
                .take(),
        );
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.hang_up();
    }
}
