//! stub

#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports, reason = "control needs Linux"))]

mod accounts;
mod audience;
mod bell;
mod capability;
#[cfg(all(feature = "cli", target_os = "linux"))]
mod cli;
mod complain;
#[cfg(target_os = "linux")]
pub mod control;
mod daemon;
mod detach;
mod error;
mod foreground;
#[cfg(target_os = "linux")]
mod handover;
#[cfg(not(target_os = "linux"))]
#[path = "handover_none.rs"]
mod handover;
mod handshake;
mod hook;
pub mod hooks;
mod ids;
mod inherited;
mod manager;
mod pidfile;
mod plan;
mod privileges;
mod ready;
mod reload;
mod shutdown;
mod start;
mod starter;
mod surroundings;
mod sys;
mod trusted;

pub use audience::status;
#[cfg(all(feature = "cli", target_os = "linux"))]
pub use cli::Action;
pub use daemon::{Daemon, Mode, NameOrId};
pub use daemon_macros::daemon;
pub use error::Error;
pub use manager::{Listener, Watchdog, listener_or, listeners, remove_stored_fd, store_fd, watchdog};
pub use ready::Ready;
pub use reload::{Reload, Reloads, reloads};
pub use shutdown::{Shutdown, shutdown};
