//! Step 12: the pidfile. Its lock is the truth, held for the service's life; the pid in it is a
//! hint.
//!
//! | module | has |
//! | --- | --- |
//! | `lock` | how the lock is taken, or the start refused |
//! | `write`, `line` | how the pid is written; what is written, and how it is read |
//! | `others` | other starts that are under way, which this one waits for, or fails |
//! | `held`, `state` | the file that this process holds, and its owner |
//! | `alone` | a pidfile without a daemon |
//! | `own` | the end of the file with its owner, and the checks before |
//! | `succession` | the instance that takes the file over in a restart |
//! | `marks` | locks on single bytes, which show others who holds the file |
//! | `holder` | who holds the lock, for a process that does not |
//! | `socket`, `peer` | the path of the control socket, and the process that listens there |

mod alone;
mod held;
mod holder;
mod line;
mod lock;
#[cfg_attr(not(target_os = "linux"), path = "marks_none.rs")]
mod marks;
mod others;
mod own;
#[cfg_attr(
    not(all(feature = "control", target_os = "linux")),
    path = "peer_none.rs"
)]
mod peer;
#[cfg(all(feature = "control", target_os = "linux"))]
pub(crate) mod socket;
mod state;
mod succession;
#[cfg(test)]
mod tests;
mod write;

pub use alone::Pidfile;
pub(crate) use held::{is_held, lock_descriptor, names_this_process};
pub(crate) use holder::Holder;
pub(crate) use line::read_pid;
pub(crate) use lock::{Claim, take_over};
pub(crate) use others::{Others, Policy};
pub(crate) use own::{leave_behind, own, ready, remove, verify, warn_if_lost};
pub(crate) use succession::{disown, is_replaced};

/// For those who ask about a service, and for restarts.
#[cfg(all(feature = "control", target_os = "linux"))]
pub(crate) use self::{
    alone::is_held_here,
    held::SocketFile,
    holder::{Found, Phase, find, old_instances, says_alive},
    line::write_pid,
    lock::remove_stale,
    marks::{Life, is_foreground, kept_instances, old_sessions, restart_lock, set_kept, set_old},
    own::remove_beside,
    peer::listener,
    succession::{begin_hand_over, end_hand_over, remove_socket_at, set_old_sessions, set_socket},
};
