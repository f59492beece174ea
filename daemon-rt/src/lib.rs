//! stub

mod accounts;
mod audience;
mod bell;
mod capability;
mod complain;
mod daemon;
mod detach;
mod error;
mod foreground;
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
pub use daemon::{Daemon, Mode, NameOrId};
pub use daemon_macros::daemon;
pub use error::Error;
pub use manager::{Listener, Watchdog, listener_or, listeners, remove_stored_fd, store_fd, watchdog};
pub use ready::Ready;
pub use reload::{Reload, Reloads, reloads};
pub use shutdown::{Shutdown, shutdown};
