//! The service on a system that is not Unix: its hooks and its main loop run in the foreground. What
//! cannot be had there is refused where a program would rely on it, see docs/limits.md.

#[cfg(feature = "cli")]
mod commands;
#[cfg(feature = "control")]
pub mod control;
#[path = "../service/drain.rs"]
pub(crate) mod drain;
pub(crate) mod end;
pub(crate) mod listen;
pub(crate) mod pidfile;
pub(crate) mod reload;
pub(crate) mod report;
mod settings;
pub(crate) mod shutdown;
mod start;
#[path = "../service/tasks.rs"]
mod tasks;
pub(crate) mod watchdog;
