//! Exhaustive fault injection: walks the start of a service, and lets every system call of starter,
//! intermediate process and daemon, at every occurrence from `main` to readiness, fail with each
//! plausible error, and be the last of its process. Each time the starter must end promptly; with
//! status 0 only if the daemon is there, ready and fully detached; else with a message that names
//! the step, and nothing left. In the foreground the same is asked of the service, and of what its
//! manager hears. In a restart the old instance is struck as well, and afterwards there must be one
//! owner that serves, and that can be restarted again.
//!
//! ```text
//! cargo build --release -p daemon-tests --bins && target/release/inject
//! inject [--sample N] [--seed S] [--jobs N] [--scenario NAME] [--only TEXT]
//! ```
//!
//! `--sample` tries that many, chosen by the seed; `--only` those whose description contains the
//! text, as the list of violations shows it. The exit status is 1 if there is a violation.
//!
//! | module | holds |
//! | --- | --- |
//! | `scenarios` | the starts that are walked |
//! | `faults` | what can go wrong with each system call |
//! | `tracer` | the strike at one call of one process |
//! | `manager` | the manager that some starts have |
//! | `verdict` | whether what came of it is all right |

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod faults;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod manager;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod scenarios;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod tracer;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod verdict;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod walk;

use std::process::ExitCode;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> ExitCode {
    walk::main()
}

/// The registers in which a call is made and answered are written for one architecture.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() -> ExitCode {
    eprintln!("inject: only for Linux on x86-64");
    ExitCode::from(2)
}
