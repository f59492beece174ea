//! Whole daemons, looked at from outside: what the tests of several subjects share.
//!
//! | module | holds |
//! | --- | --- |
//! | `settings` | [`set`]: the settings of a service by its arguments |
//! | [`svc`] | the service `svc`: its start, its end, hooks that wait |
//! | [`ctl`] | the service `ctl`, which has control commands |
//! | [`walk`] | the frame of a walk through all cases of something, or a sample of them |
//! | [`built`](mod@built) | programs that a test has Cargo build |

#![allow(clippy::missing_panics_doc, clippy::missing_errors_doc)] // That is how a test fails.

pub mod built;
pub mod ctl;
mod settings;
pub mod svc;
pub mod walk;

pub use settings::set;
