//! Controlling a service from outside: the library, and the commands on the service's own command
//! line.
//!
//! | module | holds |
//! | --- | --- |
//! | `status` | the four answers, and who cannot be told |
//! | `hostile` | E28: pids that are another's by now, and files that somebody forged |
//! | `probes` | E29: asking thousands of times |
//! | `stop` | services that end, that do not, that are not the caller's |
//! | `reload` | when it is done, and who cannot |
//! | `outcomes` | the line that a command says on success, and `kill` |
//! | `output` | what cannot be written, and usual places that are not to be trusted |
//! | `launch` | a program that starts the service and goes on |
//! | `already_running` | a start that finds the service running; statuses of a program's own |
//! | `logs` | the log: where it is, its end, and what is added to it |
//! | `check` | the configuration, before anything is changed |
//! | `kinds` | errors that a program can match |
//! | `command_line` | `--help` and its like, usage errors, a parser of the service's own |

mod already_running;
mod check;
mod command_line;
mod hostile;
mod kinds;
mod launch;
mod logs;
mod outcomes;
mod output;
mod probes;
mod reload;
mod status;
mod stop;

/// A pid as std and the library have it.
fn id(pid: i32) -> u32 {
    u32::try_from(pid).expect("a pid is positive")
}
