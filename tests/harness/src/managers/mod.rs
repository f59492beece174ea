//! Real service managers, each in a machine of its own.
//!
//! A [`Machine`] is a set of namespaces with its own processes, root, network and host name, which
//! boots in a tenth of a second and whose PID 1 is whatever a test says: systemd, s6, the service
//! itself. What it writes is gone with it, and it is gone with the test, even if the test is
//! killed. A [`Root`] says which files the machine has besides those of this one.
//!
//! ```no_run
//! use daemon_harness::managers::{Root, Systemd};
//!
//! let machine = Systemd::boot(
//!     Root::new()
//!         .copy("/usr/local/bin/greeter", "/path/to/greeter")
//!         .text("/etc/systemd/system/greeter.service", "[Service]\nType=notify\nExecStart=/usr/local/bin/greeter\n"),
//! );
//! machine.systemctl(["start", "greeter"]).expect_success();
//! assert_eq!(machine.show("greeter", "ActiveState"), "active");
//! machine.connect("127.0.0.1:7007").unwrap();
//! ```
//!
//! The managers dereference to their machine. All of this needs root, and the tools that
//! `tests/setup` installs: `require!(machine(), tool("runsvdir"))`.

#![allow(clippy::doc_markdown, reason = "the names of managers are no code")]

mod cron;
mod dinit;
mod machine;
mod notify;
mod openrc;
mod pid1;
mod ran;
mod root;
mod runit;
mod s6;
mod supervisord;
mod systemd;

pub use self::cron::Cron;
pub use self::dinit::Dinit;
pub use self::machine::{Machine, PLAIN_INIT};
pub use self::notify::NotifySocket;
pub use self::openrc::OpenRc;
pub use self::pid1::{Pid1, Shim};
pub use self::ran::Ran;
pub use self::root::Root;
pub use self::runit::Runit;
pub use self::s6::S6;
pub use self::supervisord::Supervisord;
pub use self::systemd::{Entry, Systemd};
use crate::PATIENCE;
use crate::scene::poll;

/// Looks until there is something to be seen, and fails the test when that takes longer than
/// [`PATIENCE`].
pub fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut seen = None;
    let found = || {
        seen = look();
        seen.is_some()
    };
    poll(what, PATIENCE, found, String::new);
    seen.expect("just seen")
}
