//! Attacks on what root does with a service: by what lies at its paths, by what answers there, and
//! by what it was given.
//!
//! | module | holds |
//! | --- | --- |
//! | `forged` | `control` against pidfiles that name whom they should not |
//! | `directories` | E37, E38: directories that others have a hand in, when root goes into them |
//! | `control_socket` | what lies at the control socket's paths, and a service that answers nobody |
//! | `notify` | a hostile `NOTIFY_SOCKET` |
//! | `core` | secrets of the caller in core files and memory |

mod control_socket;
mod core;
mod directories;
mod forged;
mod notify;
