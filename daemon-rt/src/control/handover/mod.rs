//! The control socket of a running service, and the restart that loses no connection: the old
//! instance hands its sockets and its lock to the new one, which is ready before the old one stops
//! accepting.
//!
//! The *restarter* is the process that runs `restart`. It forks the *new* instance, which replaces
//! the *old* one.
//!
//! 1. The restarter takes the restart lock, connects to the old instance's control socket, and
//!    makes sure that this instance answers.
//! 2. The old instance sends the descriptor that holds the pidfile's lock, and its sockets with
//!    their names, in as many messages as it takes: the restarter asks for each. The lock now has
//!    two owners, and is never free.
//! 3. The restarter forks the new instance: a start as any other, but the lock is there already,
//!    and its hooks get the sockets by their names. The new instance says that it is ready, and
//!    accepts nothing yet.
//! 4. The restarter commits, by one pwrite(2) of the new pid into the pidfile. That line alone
//!    decides who owns the service. Then the control socket of the new instance is renamed into
//!    place.
//! 5. The restarter tells both. The old instance finishes its open requests and ends; the new one
//!    goes on, and shuts down the sockets that it has not taken. The restarter waits for the end of
//!    the old instance, and kills it when the time is up. So does the new one, in case the
//!    restarter is gone.
//!
//! If the restarter is gone and has said nothing, the pidfile decides: if it names the new
//! instance, that tells the old one and goes on, else it ends. The old one goes on unless the
//! pidfile names another.
//!
//! | module | holds |
//! | --- | --- |
//! | `restart`, `take_over` | the restarter's part |
//! | `new` | the new instance's part |
//! | `old` | the old instance's part |
//! | `under_way`, `ending` | for both: the hand-over, and the end of the old instance |
//! | `service` | the control socket of a service |
//! | `reload`, `describe`, `call` | requests to a service |
//! | `message`, `word` | the messages |
//! | `lock` | the restart lock |

mod call;
#[cfg(feature = "cli")]
mod describe;
mod ending;
mod lock;
mod message;
mod new;
mod old;
mod reload;
mod restart;
mod service;
mod take_over;
mod thread;
mod under_way;
mod word;

#[cfg(feature = "cli")]
pub(crate) use self::describe::{Description, ask_to_describe};
pub(crate) use self::new::New;
pub(crate) use self::reload::{Answer, ask_to_reload};
pub(crate) use self::restart::{Restart, Restarter, clean_up, prepare_restart};
pub(crate) use self::service::{answer_calls, bind_socket};
