//! Small programs in the shape of public ones that have a start of their own, each with what must be
//! right from outside.
//!
//! | module | program | in the shape of |
//! | --- | --- | --- |
//! | `tunnel` | `port_tunnel` | boringtun: a descriptor by number, devices opened by threads as root, then nobody |
//! | `agent` | `port_agent` | rbw: the command line starts the agent; tokio, anyhow, readiness from inside the runtime |
//! | `queue` | `port_queue` | pueued: `-d`, `-f` and the configuration file decide whether it detaches |
//! | `framework` | `port_framework` | pingora: starts below `main` with a FIFO as log, upgrades by signal, has workers |

mod agent;
mod framework;
mod queue;
mod tunnel;

use std::path::Path;

use daemon_harness::Proc;

/// The numbers of the descriptors that lead to this file.
fn leading_to(process: &Proc, path: &Path) -> Vec<i32> {
    let open = process.descriptors().into_iter();
    open.filter(|(_, descriptor)| descriptor.target == path)
        .map(|(number, _)| number)
        .collect()
}
