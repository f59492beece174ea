//! Looks at anyone's daemon, in whatever language, from outside. Its page is `README.md`.
//!
//! | module | holds |
//! | --- | --- |
//! | `table` | the questions and the answers |
//! | `subject` | the command, its starts, and the daemons that come of them |
//! | `state` | what /proc says of the daemon |
//! | `order` | what strace says of its start |
//! | `pidfile` | what it does with all kinds of pidfiles, and with others like itself |
//! | `container` | what its status command says of it in a container |
//! | `interruption` | what is done about SIGINT and its like |

mod container;
mod interruption;
mod order;
mod pidfile;
mod state;
mod subject;
mod table;

use std::any::Any;
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use daemon_harness::{Scene, keeper};
use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use subject::Subject;
use table::{Table, Verdict};

/// Looks at a daemon from outside: the steps of daemon(7), and the edge cases.
///
/// It starts COMMAND, which is to end when its daemon runs, about twenty times: from a hostile
/// place, from an ordinary one, under strace, ten times at once, with all kinds of things at the
/// pidfile's path. It needs no help of the daemon, which it finds as the process that is left to
/// init (this program stands in for init), and by the pidfile if there is one. When it ends, by
/// SIGINT, SIGTERM, SIGHUP or SIGQUIT too, all that it started is gone, and the pidfile's path is
/// free.
#[derive(Parser)]
#[command(after_help = "--help says more, and lists the questions.", after_long_help = more_help())]
struct Options {
    /// Where the command is going to have its pidfile; nothing may be there yet [default: it has
    /// none]
    #[arg(long, value_name = "PATH")]
    pidfile: Option<PathBuf>,
    /// Prints JSON instead of a table
    #[arg(long)]
    json: bool,
    /// The signal that ends the daemon: a name (TERM, SIGQUIT) or a number
    #[arg(long, value_name = "SIGNAL", default_value = "TERM", value_parser = signal)]
    stop_signal: i32,
    /// A shell command that says by status 0 that the daemon runs, as the `status` of an init
    /// script [default: there is none]
    #[arg(long, value_name = "COMMAND")]
    status: Option<OsString>,
    /// How long a start, or the end after the stop signal, may take; a third of it a pidfile that
    /// comes late
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// The command that starts the daemon, with its arguments; may be a script
    #[arg(trailing_var_arg = true, required = true)]
    command: Vec<OsString>,
}

fn more_help() -> String {
    format!(
        "\
Examples:
  wellbehaved --pidfile /run/food.pid -- /usr/sbin/food --config /etc/food.conf
  wellbehaved --json --stop-signal QUIT -- ./food --detach | jq -r '.rows[] | select(.verdict == \"fail\") | .key'

Run it as root if the daemon is to drop privileges (rows 13, 13g, 13o, E22f and E36), and with strace installed (rows
13o, 14, 15, E01, E01w, E04 and E11): what cannot be seen is n/a.

COMMAND runs in / or a temporary directory, with little but PATH in its environment: name files by absolute paths, and
give variables by env(1). Whatever it writes elsewhere than at the pidfile's path stays there.

Exit status:
  0  nothing fails
  1  something does
  2  wrong usage, or it could not begin: no such command, a pidfile that is there already
  Interrupted, it dies of that signal when it has cleaned up.

JSON, an object:
  command  the command and its arguments
  rows     for each question, in the order below:
           {{\"key\": \"…\", \"question\": \"…\", \"verdict\": \"pass\" | \"fail\" | \"not-applicable\", \"evidence\": \"…\"}}

Questions (numbers: steps of daemon(7); C, E: edge cases):
{}",
        table::questions()
    )
}

/// A signal, by number or name.
fn signal(text: &str) -> Result<i32, String> {
    let named = || {
        format!("SIG{}", text.trim_start_matches("SIG"))
            .parse::<Signal>()
            .ok()
            .map(|signal| signal as i32)
    };
    let found = text
        .parse()
        .ok()
        .or_else(named)
        .filter(|number| (1..=64).contains(number));
    found.ok_or_else(|| "there is no such signal".to_owned())
}

fn main() -> ExitCode {
    keeper::within_this_program();
    let options = Options::parse();
    let command: Vec<_> = options
        .command
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let patience = Duration::from_secs(options.timeout);
    let subject = Subject::new(
        options.command,
        options.pidfile,
        options.stop_signal,
        patience,
    );
    let subject = subject.map(|subject| subject.with_status_command(options.status));
    let (subject, tracing) = match subject.and_then(|subject| Ok((subject, prepare()?))) {
        Ok(prepared) => prepared,
        Err(error) => {
            eprintln!("wellbehaved: {error}");
            return ExitCode::from(2);
        }
    };
    let table = examine(&subject, tracing);
    interruption::die_of_it();
    let rows = table.rows();
    if options.json {
        table::print_json(&command, &rows);
    } else {
        table::print(&rows);
    }
    ExitCode::from(u8::from(table::count(&rows, Verdict::Fail) > 0))
}

/// What all looks need is there; and whether strace works.
fn prepare() -> Result<Result<(), String>, String> {
    interruption::hold_off().map_err(|error| format!("signals cannot be held off: {error}"))?;
    // What the harness finds impossible, as to read of a process that is gone, is an answer here.
    set_hook(Box::new(|_| ()));
    catch_unwind(Scene::new).map_err(|panic| words(&*panic))?;
    let tracing = catch_unwind(order::can_trace).unwrap_or_else(|panic| Err(words(&*panic)));
    if let Err(reason) = &tracing {
        eprintln!("wellbehaved: {reason}: what only strace sees is n/a");
    }
    if !geteuid().is_root() {
        eprintln!("wellbehaved: not root: what a daemon does with privileges is n/a");
    }
    Ok(tracing)
}

/// One look at the daemon: it answers some of the questions.
type Look = fn(&Subject, &mut Table);

/// With the questions that each answers.
const LOOKS: &[(&[&str], Look)] = &[
    (&["pipes", "stop"], state::look_with_pipes),
    (&["E10"], state::look_without_stdio),
    (&["E36"], state::look_with_securebits),
    (&["C1"], container::look),
];

/// The same with strace.
const TRACED: &[(&[&str], Look)] = &[
    (&["13o", "14", "15"], order::look),
    (&["E01"], order::look_when_killed),
    (&["E04"], order::look_when_interrupted),
    (&["E11"], order::look_at_calls),
];

/// The same with strace and a pidfile.
const TRACED_WITH_PIDFILE: &[(&[&str], Look)] = &[(&["E01w"], order::look_when_killed_writing)];

fn examine(subject: &Subject, tracing: Result<(), String>) -> Table {
    let mut table = Table::default();
    look(subject, &mut table, &["start"], state::look);
    if !subject.detaches() {
        return table;
    }
    let pidfile = subject
        .pidfile()
        .map(drop)
        .ok_or_else(|| "no pidfile was named".to_owned());
    let groups = [
        (LOOKS, Ok(())),
        (TRACED, tracing.clone()),
        (pidfile::LOOKS, pidfile.clone()),
        (TRACED_WITH_PIDFILE, pidfile.and(tracing)),
    ];
    for (looks, possible) in groups {
        for (keys, of) in looks {
            match &possible {
                Ok(()) => look(subject, &mut table, keys, *of),
                Err(reason) => table.leave_out(keys, reason),
            }
        }
    }
    table
}

/// Looks; where that ends in a panic, the first question that it was to answer is answered with it,
/// and the rest cannot be. Under strace a start may fail on account of that alone, which is no
/// answer.
fn look(subject: &Subject, table: &mut Table, keys: &[&'static str], look: Look) {
    if interruption::is_there() {
        return;
    }
    subject.clear();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| look(subject, table))) {
        let traced = TRACED
            .iter()
            .chain(TRACED_WITH_PIDFILE)
            .any(|(of_it, _)| *of_it == keys);
        if !traced && !table.has(keys[0]) {
            table.answer(keys[0], false, words(&*panic));
        }
        table.leave_out(keys, &words(&*panic));
    }
    subject.clear();
}

/// The first line of what a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or(panic.downcast_ref::<&str>().copied());
    text.and_then(|text| text.lines().next())
        .unwrap_or("it could not be looked at")
        .to_owned()
}
