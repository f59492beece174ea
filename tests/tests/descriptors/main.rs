//! What a daemon inherits and must not keep, and what it must: edge cases E10 to E17, and rules 3
//! and 4 of the design.
//!
//! | module | holds |
//! | --- | --- |
//! | `closing` | E10–E12: descriptors |
//! | `kept` | descriptors that the service is to keep |
//! | `terminal` | E13, E14: the terminal |
//! | `signals` | E15: what is ignored, blocked and handled |
//! | `threads` | E16: threads at the fork |
//! | `paths` | E17: relative paths |

mod closing;
mod kept;
mod paths;
mod signals;
mod terminal;
mod threads;
