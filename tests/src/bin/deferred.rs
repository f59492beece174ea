//! A service that says itself when it is ready. Its arguments are settings (`pidfile=/x`,
//! `user=nobody`) and then what `main` does, one after the other: `ACTION` or `ACTION=VALUE`. It
//! fails with an `anyhow::Error`.

use std::process::{ExitCode, exit};
use std::time::Duration;
use std::{fs, io, mem, thread};

use anyhow::{Context, Result, anyhow, bail};
use daemon_harness::rough;
use daemon_rt::{Ready, daemon};
use daemon_tests::set_arguments;

#[daemon(configure = set_arguments, defer_ready)]
fn main(actions: Vec<String>, ready: Ready) -> Result<ExitCode> {
    let mut ready = Some(ready);
    for action in actions {
        act(&action, &mut ready)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn act(action: &str, ready: &mut Option<Ready>) -> Result<()> {
    let (action, value) = action.split_once('=').unwrap_or((action, ""));
    let mut take = || ready.take().context("there is no `Ready` any more");
    match action {
        "notify" => take()?.notify(),
        "notify_in_thread" => {
            let ready = take()?;
            let notifier = thread::spawn(|| ready.notify());
            notifier.join().expect("no panic");
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
        "err" => return Err(anyhow!("{value}")),
        "long_err" => return Err(anyhow!("long ".repeat(value.parse()?))),
        // An error and its sources.
        "chain" => {
            let source = io::Error::from_raw_os_error(libc::EADDRINUSE);
            let error = anyhow::Error::new(source).context("cannot listen");
            return Err(error.context("cannot serve"));
        }
        "panic" => panic!("{value}"),
        "exit" => exit(value.parse()?),
        "kill" => nix::sys::signal::raise(value.parse::<i32>()?.try_into()?)?,
        "status" => daemon_rt::status(value),
        "lock_stdout" => mem::forget(io::stdout().lock()),
        "lock_stderr" => mem::forget(io::stderr().lock()),
        "sleep" => thread::sleep(Duration::from_millis(value.parse()?)),
        "cat" => drop(fs::read(value)?),
        "note" => fs::write(value, "here\n")?,
        "remove" => fs::remove_file(value)?,
        "close_all" => rough::close_range(value.parse()?, i32::MAX)?,
        "hang" => loop {
            thread::park();
        },
        "shutdown" => daemon_rt::shutdown().wait(),
        _ => bail!("unknown action {action}"),
    }
    Ok(())
}
