//! A program that has done much before it starts its service, from safe code. Its arguments are
//! settings (`pidfile=/x`), `place=PLACE`: the function that starts it (where that is `builder`, with
//! `kept=N,` as one of `keep_fds`), and what is to be done, one after the other: `MOMENT:ACTION` or `MOMENT:ACTION=VALUE` with the moments `before`, `configure`,
//! `init`, `main` and `after`, which comes when the start has returned.
#![forbid(unsafe_code)]

mod owned;

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::{env, thread};

use daemon_harness::rough;
use daemon_rt::{Daemon, daemon, shutdown};
use daemon_tests::set_arguments;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

static CHILD: Mutex<Option<Child>> = Mutex::new(None);
static BUFFER: Mutex<Option<BufWriter<File>>> = Mutex::new(None);

fn main() -> ExitCode {
    act("before").expect("what comes before");
    let status = start();
    act("after").expect("what comes after");
    status
}

fn start() -> ExitCode {
    let mut arguments = env::args();
    match arguments
        .find_map(|argument| argument.strip_prefix("place=").map(str::to_owned))
        .as_deref()
    {
        Some("module") => svc::main(),
        Some("nested") => nested(),
        Some("method") => svc::Server::main(),
        Some("library") => {
            daemon_library::configure_by(configure);
            daemon_library::main()
        }
        Some("builder") => builder(),
        _ => serve(),
    }
}

#[daemon(configure = configure, init = init)]
fn serve() -> Result<()> {
    run()
}

mod svc {
    use daemon_rt::daemon;

    use super::{Result, configure, init, run};

    #[daemon(configure = configure, init = init)]
    pub(crate) fn main() -> Result<()> {
        run()
    }

    pub(crate) struct Server;

    impl Server {
        #[daemon(configure = configure, init = init)]
        pub(crate) fn main() -> Result<()> {
            run()
        }
    }
}

fn nested() -> ExitCode {
    #[daemon(configure = configure, init = init)]
    fn main() -> Result<()> {
        run()
    }
    main()
}

fn builder() -> ExitCode {
    let mut daemon = Daemon::new();
    let kept = |argument: String| {
        argument
            .strip_prefix("kept=")?
            .strip_suffix(',')?
            .parse()
            .ok()
    };
    daemon.keep_fds(env::args().filter_map(kept));
    let service = daemon.hooks().configure(configure).init(init).main(run);
    daemon.serve(service)
}

fn configure(daemon: &mut Daemon) -> Result<()> {
    set_arguments(daemon)?;
    act("configure")
}

fn init() -> Result<()> {
    act("init")
}

fn run() -> Result<()> {
    act("main")?;
    shutdown().wait();
    Ok(())
}

/// Does what the arguments say for this moment.
fn act(moment: &str) -> Result<()> {
    for argument in env::args().skip(1) {
        let action = argument
            .strip_prefix(moment)
            .and_then(|rest| rest.strip_prefix(':'));
        if let Some(action) = action {
            perform(action)?;
        }
    }
    Ok(())
}

fn perform(action: &str) -> Result<()> {
    let (action, value) = action.split_once('=').unwrap_or((action, ""));
    match action {
        "own" => owned::open(value.as_ref())?,
        "check" => owned::check()?,
        "close" => rough::close(value.parse()?),
        "take_over" => rough::set_close_on_exec(value.parse()?)?,
        "unset" => daemon_library::remove_variable(value),
        "set" => {
            let (name, value) = value.split_once(':').ok_or("set=NAME:VALUE")?;
            let value = value.replace("$$", &std::process::id().to_string());
            daemon_library::set_variable(name, &value);
        }
        "thread" => drop(thread::spawn(thread::park)),
        // What is in it is written by whoever drops it, or by `flush`.
        "buffer" => {
            let mut buffer = BufWriter::new(File::create(value)?);
            buffer.write_all(b"once\n")?;
            *BUFFER.lock().unwrap_or_else(PoisonError::into_inner) = Some(buffer);
        }
        "flush" => drop(BUFFER.lock().unwrap_or_else(PoisonError::into_inner).take()),
        "child" => {
            // It ends with the last process that has the pipe.
            let mut cat = Command::new("/bin/cat");
            cat.stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let child = cat.spawn()?;
            *CHILD.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        }
        // Fails if it can be waited for.
        "orphan" => {
            let mut child = CHILD.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = child.as_mut().ok_or("there is no child")?.try_wait();
            match waited {
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => {}
                waited => return Err(format!("{waited:?}").into()),
            }
        }
        "handler" => {
            let flag = std::sync::Arc::default();
            signal_hook::flag::register(value.parse()?, flag)?;
        }
        // A second start, which is refused.
        "again" => {
            let status = start();
            if status != ExitCode::from(2) {
                return Err(format!("the second start returned {status:?}").into());
            }
        }
        "take" => {
            for passed in daemon_rt::listeners()? {
                std::mem::forget(std::os::fd::OwnedFd::from(passed));
            }
        }
        "cat" => print!("{}", std::fs::read_to_string(value)?),
        "environ" => std::fs::write(value, format!("{:?}", env::vars_os()))?,
        "fail" => return Err("as it was told".into()),
        _ => return Err(format!("unknown action {action}").into()),
    }
    Ok(())
}
