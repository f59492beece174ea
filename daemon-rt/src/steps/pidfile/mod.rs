//! Step 12: the pidfile. Its lock is the truth, held for the service's life; the pid in it is a
//! hint.
//!
//! | module | holds |
//! | --- | --- |
//! | `lock` | how the lock is taken, or the start refused |
//! | `write` | the pid, written and read |
//! | `others` | other starts that are under way, which this one waits for, or fails |
//! | `own`, `state` | the file while this process holds it: its owner, and its end |
//! | `succession` | the instance that takes the file over in a restart |
//! | `marks` | locks on single bytes, which show others who holds the file |
//! | `holder` | who holds the lock, for a process that does not |
//! | `socket`, `peer` | the path of the control socket, and the process that listens there |

mod holder;
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

pub(crate) use holder::Holder;
pub(crate) use lock::{Pidfile, take_over};
pub(crate) use others::{Others, Policy};
pub(crate) use own::{
    is_held, leave_behind, lock_descriptor, names_this_process, own, ready, remove, verify,
    warn_if_lost,
};
pub(crate) use succession::is_replaced;
pub(crate) use write::read_pid;

/// For those who ask about a service, and for restarts.
#[cfg(all(feature = "control", target_os = "linux"))]
pub(crate) use self::{
    holder::{Found, Phase, find, says_alive},
    lock::remove_stale,
    marks::{Life, is_foreground, old_instances, restart_lock, set_old},
    own::{is_held_here, remove_beside},
    peer::listener,
    succession::{
        SocketFile, begin_hand_over, disown, end_hand_over, remove_socket_at, set_socket,
    },
};
