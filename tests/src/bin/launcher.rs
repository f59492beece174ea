//! A program that starts a service by `Control::launch`, and goes on. Its arguments are words, and
//! after `--` the command:
//!
//! - `pidfile=PATH`
//! - `patience=MILLISECONDS`: a minute if it is not given
//! - `threads=N`: so many threads launch at once, instead of the main thread
//! - `reaper`: a thread waits for every child
//! - `pauses`: it waits for a line on stdin before it launches, and again before it ends
//!
//! For each launch it prints a line: the pid and `first` or `already`, or how the starter has ended
//! and the message. It exits with 1 if one has failed.

use std::io;
use std::process::{Command, ExitCode};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use daemon_rt::control::{Control, StartError, Started};
use nix::errno::Errno;

struct Options {
    pidfile: String,
    patience: Duration,
    threads: usize,
    reaper: bool,
    pauses: bool,
    command: Vec<String>,
}

fn main() -> ExitCode {
    let options = options();
    if options.reaper {
        thread::spawn(reap);
    }
    pause(&options);
    let outcomes = match options.threads {
        0 => vec![launch(&options)],
        _ => launch_in_threads(&options),
    };
    for outcome in &outcomes {
        print(outcome);
    }
    pause(&options);
    if outcomes.iter().all(Result::is_ok) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn launch_in_threads(options: &Options) -> Vec<Result<Started, StartError>> {
    let gate = Barrier::new(options.threads);
    thread::scope(|scope| {
        let launch = || {
            gate.wait();
            launch(options)
        };
        let threads: Vec<_> = (0..options.threads).map(|_| scope.spawn(launch)).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join().expect("no panic");
        threads.into_iter().map(join).collect()
    })
}

fn options() -> Options {
    let mut words = std::env::args().skip(1);
    let mut options = Options {
        pidfile: String::new(),
        patience: Duration::from_mins(1),
        threads: 0,
        reaper: false,
        pauses: false,
        command: Vec::new(),
    };
    for word in words.by_ref().take_while(|word| word != "--") {
        let (key, value) = word.split_once('=').unwrap_or((&word, ""));
        match key {
            "pidfile" => value.clone_into(&mut options.pidfile),
            "patience" => options.patience = Duration::from_millis(number(value)),
            "threads" => options.threads = usize::try_from(number(value)).expect("a number"),
            "reaper" => options.reaper = true,
            "pauses" => options.pauses = true,
            _ => panic!("unknown word {word}"),
        }
    }
    options.command.extend(words);
    options
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

fn launch(options: &Options) -> Result<Started, StartError> {
    let mut command = Command::new(&options.command[0]);
    command.args(&options.command[1..]);
    let outcome = Control::new(&options.pidfile).launch(&mut command, options.patience);
    // It lives on, as that of a program which may launch once more.
    std::mem::forget(command);
    outcome
}

fn print(outcome: &Result<Started, StartError>) {
    match outcome {
        Ok(Started {
            pid,
            already_running: false,
            ..
        }) => println!("{pid} first"),
        Ok(Started { pid, .. }) => println!("{pid} already"),
        Err(error) => match error.status() {
            Some(status) => println!("{status}: {error}"),
            None => println!("unknown: {error}"),
        },
    }
}

fn pause(options: &Options) {
    if options.pauses {
        println!("pauses");
        io::stdin().read_line(&mut String::new()).expect("a line");
    }
}

/// Waits for every child, as some runtimes do.
fn reap() {
    loop {
        if nix::sys::wait::wait() == Err(Errno::ECHILD) {
            thread::yield_now();
        }
    }
}
