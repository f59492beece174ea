//! What the services do: their arguments are settings, `pidfile=PATH` and `stderr=PATH`, and
//! `HOOK:ACTION` or `HOOK:ACTION=VALUE`.

use std::error::Error;
use std::process::Command;
use std::time::Duration;
use std::{env, panic, thread};

use daemon_rt::Daemon;
use nix::unistd::fork;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Takes the settings, and does what `configure` is to do.
///
/// # Errors
/// If an action fails.
pub fn configure(daemon: &mut Daemon) -> Result<()> {
    for argument in env::args() {
        match argument.split_once('=') {
            Some(("pidfile", path)) => _ = daemon.pidfile(path),
            Some(("stderr", path)) => _ = daemon.stderr(path),
            _ => {}
        }
    }
    act("configure")
}

/// Does what a hook is to do.
///
/// # Errors
/// If an action fails.
///
/// # Panics
/// If it is told to.
pub fn act(hook: &str) -> Result<()> {
    for argument in env::args() {
        let Some((of, action)) = argument.split_once(':') else {
            continue;
        };
        if of != hook {
            continue;
        }
        let (action, value) = action.split_once('=').unwrap_or((action, ""));
        match action {
            "print" => print!("{value}"),
            "panic" => panic!("{value}"),
            "panic_any" => panic::panic_any(value.len()),
            "panicking_thread" => drop(thread::spawn(|| panic!("in a thread")).join()),
            "fork" => fork_one()?,
            "spawn" => drop(Command::new("/bin/sh").arg("-c").arg(value).spawn()?),
            "sleep" => thread::sleep(Duration::from_millis(value.parse()?)),
            "hang" => hang(),
            _ => return Err(format!("unknown action {action}").into()),
        }
    }
    Ok(())
}

/// Leaves a child that executes nothing.
#[allow(unsafe_code)]
fn fork_one() -> nix::Result<()> {
    // SAFETY: the child allocates nothing: it waits for its end.
    if unsafe { fork() }?.is_child() {
        hang();
    }
    Ok(())
}

fn hang() -> ! {
    loop {
        nix::unistd::pause();
    }
}
