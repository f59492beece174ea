//! Whole daemons, looked at from outside: what the tests of several subjects share.
//!
//! | module | holds |
//! | --- | --- |
//! | `settings` | [`Settings`]: what a service is told by its arguments, or by a variable |
//! | [`svc`] | the service `svc`: its start, its end, hooks that wait |
//! | [`activated`] | a service with sockets from a manager, for which the test stands |
//! | [`ctl`] | the service `ctl`, which has control commands |
//! | [`walk`] | the frame of a walk through all cases of something, or a sample of them |
//! | [`built`](mod@built) | programs that a test has Cargo build |

#![allow(clippy::missing_panics_doc, clippy::missing_errors_doc)] // That is how a test fails.

pub mod activated;
pub mod built;
pub mod ctl;
mod settings;
pub mod svc;
pub mod walk;

pub use settings::{Settings, set, set_arguments};
