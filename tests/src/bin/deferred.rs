//! A service that says itself when it is ready. Its arguments are settings (`pidfile=/x`,
//! `user=nobody`) and then what `main` does, one after the other: `ACTION` or `ACTION=VALUE`.

use std::error::Error;
use std::process::{ExitCode, exit};
use std::time::Duration;
use std::{fs, mem, thread};

use daemon_rt::{Daemon, Ready, daemon};
use daemon_tests::set;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[daemon(configure = configure, defer_ready)]
fn main(actions: Vec<String>, ready: Ready) -> Result<ExitCode> {
    let mut ready = Some(ready);
    for action in actions {
        act(&action, &mut ready)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes the settings, and returns the actions.
fn configure(daemon: &mut Daemon) -> Result<Vec<String>> {
    let mut actions = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some((key, value)) if set(daemon, key, value)? => {}
            _ => actions.push(argument),
        }
    }
    Ok(actions)
}

fn act(action: &str, ready: &mut Option<Ready>) -> Result<()> {
    let (action, value) = action.split_once('=').unwrap_or((action, ""));
    let mut take = || ready.take().ok_or("there is no `Ready` any more");
    match action {
        "notify" => take()?.notify(),
        "notify_in_thread" => {
            let ready = take()?;
            thread::spawn(|| ready.notify())
                .join()
                .map_err(|_| "it panicked")?;
        }
        "notify_later" => {
            let (ready, delay) = (take()?, Duration::from_millis(value.parse()?));
            thread::spawn(move || {
                thread::sleep(delay);
                ready.notify();
            });
        }
        "drop" => drop(take()?),
        "drop_in_thread" => {
            let ready = take()?;
            drop(thread::spawn(|| drop(ready)));
        }
        "panic_in_thread" => {
            let ready = take()?;
            drop(thread::spawn(move || {
                let _held = ready;
                panic!("in a thread");
            }));
        }
        "forget" => mem::forget(take()?),
        "err" => return Err(value.into()),
        "panic" => panic!("{value}"),
        "exit" => exit(value.parse()?),
        "kill" => nix::sys::signal::raise(value.parse::<i32>()?.try_into()?)?,
        "status" => daemon_rt::status(value),
        "sleep" => thread::sleep(Duration::from_millis(value.parse()?)),
        "cat" => drop(fs::read(value)?),
        "note" => fs::write(value, "here\n")?,
        "remove" => fs::remove_file(value)?,
        "shutdown" => daemon_rt::shutdown().wait(),
        _ => return Err(format!("unknown action {action}").into()),
    }
    Ok(())
}
