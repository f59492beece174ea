//! A service whose starter has a last word. Its arguments are settings (`pidfile=/x`) and what its
//! hooks are to do, one after the other: `HOOK:ACTION` or `HOOK:ACTION=VALUE` with the hooks
//! `configure`, `init`, `main` and `started`. In the end it waits for the termination request.
//!
//! - `message`: it has a message in place of the function
//! - `drops=FILE`: the function owns a value, which notes in the file in which process it is dropped
//! - `restart=MILLISECONDS`: it restarts the service, and gives the old instance this time

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::panic::panic_any;
use std::process::{Command, ExitCode, exit, id};
use std::time::Duration;
use std::{env, mem, thread};

use daemon_rt::cli::Action;
use daemon_rt::{Daemon, Started, daemon, listener_or, shutdown};
use daemon_tests::set;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    if env::args().any(|argument| argument == "message") {
        return with_message();
    }
    let owned = NotesDrop(value_of("drops"));
    let mut daemon = Daemon::new();
    let service = daemon
        .hooks()
        .configure(configure)
        .init(init)
        .main(serve)
        .started(move |started: &Started| {
            let _owned = owned;
            act("started", Some(started)).expect("a last word");
        });
    daemon.serve(service)
}

#[daemon(configure = configure, init = init, started = "{WHAT} runs as process {pid}")]
fn with_message() -> Result<()> {
    serve()
}

const WHAT: &str = "the service";

fn configure(daemon: &mut Daemon) -> Result<()> {
    for argument in env::args().skip(1) {
        let Some((key, value)) = argument.split_once('=') else {
            continue;
        };
        if key == "restart" {
            let timeout = Duration::from_millis(value.parse()?);
            let quiet = true;
            daemon.action(Action::Restart {
                timeout: Some(timeout),
                quiet,
            });
        } else if !key.contains(':') && key != "drops" && !set(daemon, key, value)? {
            return Err(format!("unknown setting {key}").into());
        }
    }
    act("configure", None)
}

fn init() -> Result<()> {
    act("init", None)
}

fn serve() -> Result<()> {
    act("main", None)?;
    shutdown().wait();
    Ok(())
}

/// What stands behind this key among the arguments.
fn value_of(key: &str) -> Option<String> {
    env::args().find_map(|argument| Some(argument.strip_prefix(key)?.strip_prefix('=')?.to_owned()))
}

/// Does what a hook is to do.
fn act(hook: &str, started: Option<&Started>) -> Result<()> {
    for argument in env::args() {
        let Some((of, action)) = argument.split_once(':') else {
            continue;
        };
        if of != hook {
            continue;
        }
        let (action, value) = action.split_once('=').unwrap_or((action, ""));
        match action {
            "say" => println!("told: {started:?}"),
            "print" => print!("{value}"),
            "println" => println!("{value}"),
            "status" => daemon_rt::status(value),
            // Appends a line to a file.
            "note" => {
                let (path, line) = value.split_once(':').ok_or("note=PATH:LINE")?;
                note(path, line)?;
            }
            // Waits until the FIFO's other side has come and gone.
            "cat" => drop(fs::read(value)?),
            "sleep" => thread::sleep(Duration::from_millis(value.parse()?)),
            "sh" => {
                let status = Command::new("/bin/sh").arg("-c").arg(value).status()?;
                println!("{status}");
            }
            "listen" => mem::forget(listener_or("main", || {
                std::net::TcpListener::bind("127.0.0.1:0")
            })?),
            "hang" => loop {
                _ = shutdown();
                thread::park();
            },
            "err" => return Err(value.into()),
            "exit" => exit(value.parse()?),
            "panic" => panic!("{value}"),
            "panic_when_dropped" => panic_any(PanicsWhenDropped),
            _ => return Err(format!("unknown action {action}").into()),
        }
    }
    Ok(())
}

fn note(path: &str, line: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    writeln!(file, "{line}")
}

struct NotesDrop(Option<String>);

impl Drop for NotesDrop {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            note(path, &id().to_string()).expect("a file to write to");
        }
    }
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("dropped");
    }
}
