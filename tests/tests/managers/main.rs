//! Service managers: the real ones, each in a machine of its own, and the test in their place.
//!
//! | module | holds |
//! | --- | --- |
//! | `auto` | the rules of `auto` mode, one by one |
//! | `signs` | D5: the signs of a supervisor |
//! | `shells` | shells that stand for managers |
//! | `packaging` | the Debian package of an example: installed, upgraded under load, removed |
//! | `places` | H2: the usual places under systemd, and without a login |
//! | `protocol` | what a manager hears, with the test as the manager |
//! | `sockets` | sockets from the manager, with the test as the manager |
//! | `syslog` | the system log as a service's log |
//! | `reload` | SIGHUP: logs are opened again |
//! | `systemd` | systemd, with the units of `examples/managers/systemd` |
//! | `supervisors` | s6, runit, supervisord, OpenRC, dinit, start-stop-daemon |
//! | `containers` | PID 1 of a container, shims, callers who wait for the end of the output |
//! | `keep` | a manager keeps what it runs |
//! | `unit_files` | what `unit` prints |
//! | `install` | `install` and its like, in machines of their own |
//! | `unit_kinds` | H3, s6-rc, dinit, and what `unit` prints beside service files |

#[macro_use]
mod greeter;

mod auto;
mod containers;
mod ctl;
mod install;
mod journal;
mod keep;
mod packaging;
mod places;
mod protocol;
mod reload;
mod rotation;
mod shells;
mod signs;
mod sockets;
mod supervisors;
mod syslog;
mod systemd;
mod unit_files;
mod unit_kinds;
