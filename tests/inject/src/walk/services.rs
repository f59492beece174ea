//! The services whose starts are walked: this program under another name.
//!
//! Their arguments are settings (`pidfile=/x`), and for [`full`] words that say what it does.

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The service that this program is called by, if it is called by one.
pub(crate) fn called() -> Option<fn() -> ExitCode> {
    let name = env::args_os().next()?;
    match Path::new(&name).file_name()?.to_str()? {
        full::NAME => Some(full::run_first),
        full::LATE => Some(full::main),
        deferred::NAME => Some(deferred::main),
        handing_over::NAME => Some(handing_over::main),
        launching::NAME => Some(launching::main),
        _ => None,
    }
}

/// A service with all hooks and, by its arguments, all settings.
pub(crate) mod full {
    use std::process::ExitCode;

    use daemon_rt::{Daemon, daemon, shutdown, status};

    use daemon_tests::set_arguments;

    use super::Result;

    /// What it is called by.
    pub(crate) const NAME: &str = "full-service";
    /// What it is called by where it is to start late.
    pub(crate) const LATE: &str = "late-service";
    /// `init` fails.
    pub(crate) const FAIL: &str = "fail";
    /// It expects a termination request from `init` on, and says when it is in its main loop.
    pub(crate) const SAY_WHEN: &str = "say-when";
    /// What it says then.
    pub(crate) const IN_MAIN: &str = "in the main loop";

    /// Starts as the first thing in `main`.
    #[allow(unsafe_code)]
    pub(crate) fn run_first() -> ExitCode {
        let mut daemon = Daemon::new();
        let hooks = daemon.hooks().configure(configure);
        let service = hooks.privileged_init(privileged_init).init(init).main(wait);
        // SAFETY: this program has only looked at its name before.
        unsafe { daemon.run(service) }
    }

    #[daemon(configure = configure, privileged_init = privileged_init, init = init, main_loop = wait)]
    pub(crate) fn main() {}

    #[expect(clippy::needless_pass_by_value, reason = "a main loop takes it")]
    fn wait(words: Vec<String>) {
        if words.iter().any(|word| word == SAY_WHEN) {
            eprintln!("{IN_MAIN}");
        }
        shutdown().wait();
    }

    fn configure(daemon: &mut Daemon) -> Result<Vec<String>> {
        let words = set_arguments(daemon)?;
        println!("configured");
        Ok(words)
    }

    #[expect(clippy::unnecessary_wraps, reason = "a hook returns a `Result`")]
    fn privileged_init(words: Vec<String>) -> Result<Vec<String>> {
        Ok(words)
    }

    fn init(words: Vec<String>) -> Result<Vec<String>> {
        status("half way");
        if words.iter().any(|word| word == FAIL) {
            return Err("on purpose".into());
        }
        if words.iter().any(|word| word == SAY_WHEN) {
            _ = shutdown();
        }
        Ok(words)
    }
}

/// A service that says itself when it is ready.
pub(crate) mod deferred {
    use daemon_rt::{Ready, daemon, shutdown, status};
    use daemon_tests::set_arguments;

    /// What it is called by.
    pub(crate) const NAME: &str = "deferred-service";

    #[daemon(configure = set_arguments, defer_ready)]
    pub(crate) fn main(_words: Vec<String>, ready: Ready) {
        status("half way");
        ready.notify();
        shutdown().wait();
    }
}

/// A service with the control commands, which answers each request with its pid. Its command line
/// is the library's, so that its settings are variables.
pub(crate) mod handing_over {
    use std::io::{self, BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::{env, fs, process, thread};

    use daemon_rt::{Daemon, daemon, listener_or, shutdown};

    use super::Result;

    /// What it is called by.
    pub(crate) const NAME: &str = "handing-over-service";
    /// The variable that names its pidfile.
    pub(crate) const PIDFILE: &str = "SERVICE_PIDFILE";
    /// The variable that names the file into which it writes its address.
    pub(crate) const ADDRESS: &str = "SERVICE_ADDRESS";

    #[daemon(cli, configure = configure, init = init, user = "nobody", umask = 0o022)]
    pub(crate) fn main(listener: TcpListener) {
        thread::spawn(move || {
            for peer in listener.incoming().flatten() {
                // A peer that is gone needs no answer.
                _ = answer(&peer);
            }
        });
        shutdown().wait();
    }

    fn configure(daemon: &mut Daemon) -> Result<String> {
        daemon.pidfile(env::var(PIDFILE)?);
        Ok(env::var(ADDRESS)?)
    }

    fn init(address: String) -> Result<TcpListener> {
        let listener = listener_or("main", || TcpListener::bind("127.0.0.1:0"))?;
        fs::write(address, listener.local_addr()?.to_string())?;
        Ok(listener)
    }

    fn answer(peer: &TcpStream) -> io::Result<()> {
        let mut line = String::new();
        BufReader::new(peer).read_line(&mut line)?;
        writeln!(&*peer, "{}", process::id())
    }
}

/// A program that launches the service [`full`] with its own arguments, and says which process it
/// is.
pub(crate) mod launching {
    use std::env;
    use std::io::{self, Write};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, ExitCode};
    use std::time::Duration;

    use daemon_rt::control::Control;

    use super::full;

    /// What it is called by.
    pub(crate) const NAME: &str = "launching-program";

    pub(crate) fn main() -> ExitCode {
        let arguments: Vec<String> = env::args().skip(1).collect();
        let pidfile = arguments
            .iter()
            .find_map(|word| word.strip_prefix("pidfile="));
        let mut service = Command::new(env::current_exe().expect("the path of this program"));
        service.arg0(full::NAME).args(&arguments);
        let control = Control::new(pidfile.expect("a pidfile"));
        // What cannot be written is not said.
        match control.launch(&mut service, Duration::from_secs(30)) {
            Ok(started) => {
                _ = write!(io::stdout(), "{}", started.pid);
                ExitCode::SUCCESS
            }
            Err(error) => {
                _ = writeln!(io::stderr(), "{error}");
                ExitCode::FAILURE
            }
        }
    }
}
