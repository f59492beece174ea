//! stub

mod daemon;
pub use daemon::{Daemon, Mode, NameOrId};
