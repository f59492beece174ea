//! The restart that loses no connection. The *restarter* is the process that runs `restart`.
//!
//! | module | holds |
//! | --- | --- |
//! | `load` | restarts under constant load |
//! | `counted` | no datagram, and no connection to a Unix socket, is lost |
//! | `failures` | the restarter, the old or the new instance dies, at every moment |
//! | `left` | `status` shows what older instances have left |
//! | `growth` | however often it is restarted, nothing grows |
//! | `kinds` | services that cannot hand over, do not run, are another user's |
//! | `socket` | the control socket, and who may speak there |
//! | `systemd` | `ExecReload=` |
//! | `upgrade` | upgrades by a program's own protocol |

mod counted;
mod failures;
mod growth;
mod kinds;
mod left;
mod load;
mod socket;
mod systemd;
mod upgrade;

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use daemon_harness::managers::Systemd;
use daemon_harness::{Proc, Scene};
use daemon_tests::ctl::{self, Ctl};

/// The service, which answers requests.
fn answering(scene: &Scene) -> Ctl<'_> {
    Ctl::new(scene).with("listen", scene.path("address"))
}

/// A machine in which systemd has started the service by this unit.
fn under_systemd(unit: &str) -> Systemd {
    let machine = Systemd::boot(ctl::root().text("/etc/systemd/system/ctl.service", unit));
    machine.systemctl(["start", "ctl"]).expect_success();
    machine
}

/// Where it answers.
fn address(scene: &Scene) -> SocketAddr {
    fs::read_to_string(scene.path("address"))
        .expect("the service listens")
        .parse()
        .expect("an address")
}

/// One request, on a connection of its own: the pid of the instance that answers.
fn request(address: SocketAddr) -> io::Result<i32> {
    let connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(Duration::from_secs(10)))?;
    answer(connection)
}

fn answer(mut connection: TcpStream) -> io::Result<i32> {
    connection.write_all(b"who?\n")?;
    let mut line = String::new();
    BufReader::new(connection).read_line(&mut line)?;
    line.trim()
        .parse()
        .map_err(|_| io::Error::other(format!("cut short: {line:?}")))
}

/// This one instance owns the service, as far as can be told: it is alone, it answers, the pidfile
/// names it, it holds the lock, and nothing of a restart is left.
#[track_caller]
fn assert_owner(scene: &Scene) -> Proc {
    let owner = assert_one_owner(scene);
    assert!(!new_socket(scene).exists());
    owner
}

/// The same, but a restart may have left its socket.
#[track_caller]
fn assert_one_owner(scene: &Scene) -> Proc {
    let mut owner = None;
    scene.wait_until("one process, that the pidfile names", || {
        let mut processes = scene.processes();
        owner = processes
            .pop()
            .filter(|last| processes.is_empty() && scene.pid_in_pidfile() == Some(last.pid()));
        owner.is_some()
    });
    let owner = owner.expect("the owner");
    assert!(
        owner
            .descriptors()
            .values()
            .any(|open| open.target == scene.pidfile() && !open.locks.is_empty())
    );
    assert_eq!(request(address(scene)).expect("an answer"), owner.pid());
    owner
}

/// The new instance's control socket until the commit.
fn new_socket(scene: &Scene) -> PathBuf {
    scene.path("service.pid.control.new")
}
