//! Looks at anyone's daemon, in whatever language, from outside.
//!
//! ```text
//! wellbehaved [--pidfile PATH] [--json] [--stop-signal N] -- COMMAND ARGS…
//! ```
//!
//! It starts the command several times: from a hostile place (descriptors low and high, signals ignored and blocked, a
//! controlling terminal, umask 077, foreign groups, secrets in the environment, a temporary working directory), from an
//! ordinary one, under strace, ten times at once, and with all kinds of things at the pidfile's path; finds the daemon
//! without its help (as it adopts what is orphaned, and by the pidfile); and prints the steps of daemon(7) and the edge
//! cases that can be seen from outside: pass, FAIL, n/a, each with its evidence. When it ends, everything that it started
//! is gone.
//!
//! The exit status is 0 if nothing fails, 1 if something does, 2 if it was not called rightly. As root it sees more.
//!
//! | module | holds |
//! | --- | --- |
//! | `table` | the questions and the answers |
//! | `subject` | the command, its starts, and the daemons that come of them |
//! | `state` | what /proc says of the daemon |
//! | `order` | what strace says of its start |
//! | `pidfile` | what it does with all kinds of pidfiles, and with others like itself |

mod order;
mod pidfile;
mod state;
mod subject;
mod table;

use std::{
    ffi::OsString,
    panic::{AssertUnwindSafe, catch_unwind, set_hook},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use subject::Subject;
use table::{Table, Verdict};

/// Looks at a daemon from outside: the steps of daemon(7), and the edge cases.
#[derive(Parser)]
struct Options {
    /// Where the command is going to have its pidfile; nothing may be there yet
    #[arg(long)]
    pidfile: Option<PathBuf>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
    /// The signal that ends the daemon
    #[arg(long, default_value_t = libc::SIGTERM)]
    stop_signal: i32,
    /// The command that starts the daemon
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let command: Vec<_> = options.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let subject = match Subject::new(options.command, options.pidfile, options.stop_signal) {
        Ok(subject) => subject,
        Err(error) => {
            eprintln!("wellbehaved: {error}");
            return ExitCode::from(2);
        }
    };
    let rows = examine(&subject).rows();
    if options.json {
        table::print_json(&command, &rows);
    } else {
        table::print(&rows);
    }
    ExitCode::from(u8::from(table::count(&rows, Verdict::Fail) > 0))
}

/// One look at the daemon: it answers some of the questions.
type Look = fn(&Subject, &mut Table);

fn examine(subject: &Subject) -> Table {
    let mut table = Table::default();
    // What the harness finds impossible, as to read of a process that is gone, is an answer here.
    set_hook(Box::new(|_| ()));
    look(subject, &mut table, "start", state::look);
    if !subject.detaches() {
        return table;
    }
    let looks: [(&'static str, Look); 4] = [
        ("pipes", state::look_with_pipes),
        ("E10", state::look_without_stdio),
        ("15", order::look),
        ("E01", order::look_when_killed),
    ];
    for (key, of) in looks {
        look(subject, &mut table, key, of);
    }
    for &(key, of) in pidfile::LOOKS {
        if subject.pidfile().is_some() {
            look(subject, &mut table, key, of);
        } else {
            table.not_applicable(key, "no pidfile was named");
        }
    }
    table
}

/// Looks; where that ends in a panic, the question that it was to answer is answered with it.
fn look(subject: &Subject, table: &mut Table, key: &'static str, look: Look) {
    subject.clear();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| look(subject, table))) {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("it could not be looked at");
        if !table.has(key) {
            table.answer(key, false, text.lines().next().unwrap_or_default());
        }
    }
    subject.clear();
}
