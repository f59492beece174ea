//! The new-style daemon's side of the service managers' protocols.

pub(crate) mod activation;
pub(crate) mod detect;
pub(crate) mod supervisor;
mod watchdog;

pub use watchdog::{Watchdog, watchdog};
