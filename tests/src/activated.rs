//! A service with sockets from a manager, for which the test stands.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use daemon_harness::Proc;

/// The service with descriptors 3 and 4, started as a manager does: by a process that becomes it.
/// It ends with the test.
#[derive(Debug)]
pub struct Activated(Child);

impl Activated {
    /// Starts it, with what `more` adds: arguments, variables. `variables` is shell text; its `$$`
    /// is the service's pid.
    pub fn start(
        program: &Path,
        sockets: [OwnedFd; 2],
        variables: &str,
        more: impl FnOnce(&mut Command),
    ) -> Self {
        let [first, second] = sockets;
        let script =
            format!("exec 3<&0 4>&1 </dev/null >/dev/null; export {variables}; exec \"$@\"");
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &script, "sh"]).arg(program);
        more(&mut shell);
        shell.current_dir("/").stdin(first).stdout(second);
        Self(shell.stderr(Stdio::piped()).spawn().expect("a shell"))
    }

    /// Its pid.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).expect("a pid")
    }

    /// Waits until it ends by itself: its exit status, and what it said.
    pub fn ended(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        let mut stderr = self.0.stderr.take().expect("a pipe");
        stderr.read_to_string(&mut said).expect("text");
        (self.0.wait().expect("our child").code(), said)
    }

    /// Tells it to end: what it has said. It must end well.
    #[track_caller]
    pub fn stopped(self) -> String {
        let process = Proc::new(self.pid()).expect("it runs");
        process.signal(libc::SIGTERM);
        let (status, said) = self.ended();
        assert_eq!(status, Some(0), "{said}");
        said
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}
