//! What a command in a machine did.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::{fmt, thread};

use crate::PATIENCE;

/// How a command ended and what it said, up to the end of file on both of its outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// The exit status, as a shell counts it: 128+N after signal N.
    pub status: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Ran {
    /// Runs the command as `ssh host command` does: nothing on standard input, and over only when
    /// the command has ended *and* nobody holds its outputs open any more.
    ///
    /// # Panics
    /// If that takes longer than [`PATIENCE`], or the command cannot be started.
    pub fn of(mut command: Command) -> Self {
        let name = format!("{command:?}");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || sender.send(child.wait_with_output()));
        let output = receiver
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("{name}: it did not end, or someone holds its output open"))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let status = output.status;
        Self {
            status: status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Whether it ended with status 0.
    pub fn success(&self) -> bool {
        self.status == 0
    }

    /// Its standard output, without the last line break.
    ///
    /// # Panics
    /// If it failed.
    #[track_caller]
    pub fn expect_success(self) -> String {
        assert!(self.success(), "{self}");
        self.stdout.trim_end_matches('\n').to_owned()
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "status {}\n--- stdout\n{}\n--- stderr\n{}",
            self.status, self.stdout, self.stderr
        )
    }
}
