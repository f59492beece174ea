//! After a restart there is exactly one owner that serves: the old instance if the restarter
//! says that it has failed, the new one if it says that it has not.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use daemon_harness::{Proc, Started};

use super::{
    Case, Outcome, SOON, Violations, check, detached, nobody_left, only_process, owns_pidfile,
    reached, says_why, soon,
};
use crate::walk::scenarios::{Old, address, control};
use crate::walk::strike::Role;

pub(super) fn outcome(case: &Case<'_>, started: &Started, old: &Old) -> Result<Outcome, String> {
    if started.status.success() && case.killed(Role::Daemon) {
        // As a service that is killed later: the old one has already been told to end.
        return soon(|| nobody_left(case)).map(|()| Outcome::Killed);
    }
    let owner = soon(|| {
        let owner = only_process(case.scene)?;
        let renewed = owner.pid() != old.process.pid();
        owns_pidfile(case, &owner)?;
        if renewed {
            detached(case, &owner)?;
        }
        let word = case.killed(Role::Starter) || renewed == started.status.success();
        check(word, || "the owner is the other one".to_owned())?;
        Ok(owner)
    })?;
    // An instance that dies, or cannot hand over, is replaced by one that begins anew.
    let address = if case.befell(Role::Old) {
        address(case.scene)
    } else {
        old.address
    };
    answers(address, &owner)?;
    if !case.killed(Role::Starter) {
        let left = case.scene.path("service.pid.control.new").exists();
        // Where it cannot be put in its place it is found all the same.
        let unmovable = started.status.success() && case.struck_at(&[libc::SYS_renameat]);
        check(left == unmovable, || {
            format!("the new control socket is left: {left}")
        })?;
        if !started.status.success() {
            says_why(case, started)?;
        }
    }
    if !case.is_deaf() {
        can_hand_over(case, address, &owner)?;
    }
    if case.killed(Role::Starter) {
        Ok(Outcome::Killed)
    } else {
        reached(case, started.status.success())
    }
}

/// A request is answered by this instance.
fn answers(address: SocketAddr, owner: &Proc) -> Violations {
    let ask = || -> std::io::Result<String> {
        let mut connection = TcpStream::connect(address)?;
        connection.set_read_timeout(Some(SOON))?;
        connection.write_all(b"who?\n")?;
        let mut line = String::new();
        BufReader::new(connection).read_line(&mut line)?;
        Ok(line)
    };
    let answer = ask().map_err(|error| format!("no answer: {error}"))?;
    check(answer == format!("{}\n", owner.pid()), || {
        format!("{answer:?} answers, not {}", owner.pid())
    })
}

/// The next restart works: the successor has the same socket, which it cannot have bound anew.
fn can_hand_over(case: &Case<'_>, address: SocketAddr, owner: &Proc) -> Violations {
    let again = control(case.scene, "restart").run();
    check(again.status.success(), || {
        format!("it cannot be restarted: {again:#?}")
    })?;
    let successor = soon(|| {
        let successor = only_process(case.scene)?;
        owns_pidfile(case, &successor)?;
        Ok(successor)
    })?;
    check(successor.pid() != owner.pid(), || {
        "the next restart has changed nothing".to_owned()
    })?;
    answers(address, &successor)
}
