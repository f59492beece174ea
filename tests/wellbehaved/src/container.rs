//! What the daemon's own status command says of it in a container.

use daemon_harness::{Hidden, Launch, Namespaces, Proc, ProcMount, Scene};
use nix::unistd::geteuid;

use crate::subject::{Subject, holds_within};
use crate::table::Table;

/// What docker leaves root by default: all other capabilities are taken away.
const DOCKER: [u32; 14] = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31];

const CONTAINER: Namespaces = Namespaces {
    pids: true,
    proc: ProcMount::New(Hidden::Nothing),
    run_of: None,
    root_is: None,
};

/// In a pid namespace with a /proc of its own, as root without ptrace rights: the command says that
/// the daemon runs while it does, and no longer when it was killed.
pub(crate) fn look(subject: &Subject, table: &mut Table) {
    let Some(command) = subject.status_command() else {
        return table.not_applicable("C1", "no status command was named (--status)");
    };
    if !geteuid().is_root() {
        return table.not_applicable("C1", "not root");
    }
    let scene = Scene::new();
    let keeper = scene
        .launch("/bin/sleep")
        .arg("1000")
        .in_new_namespaces(CONTAINER)
        .spawn();
    let mut init = None;
    holds_within(subject.patience, || {
        let below = Proc::descendants(keeper.pid());
        init = below
            .iter()
            .find(|process| process.name().as_deref() == Some("sleep"))
            .map(Proc::pid);
        init.is_some()
    });
    let init = init.expect("a container");
    let inside = |launch: Launch<'_>| {
        let taken = (0..=40).filter(|capability| !DOCKER.contains(capability));
        subject.run(
            launch
                .bounding_without(taken)
                .in_namespaces_of(init, CONTAINER),
        )
    };
    let status = || inside(scene.launch("/bin/sh").arg("-c").arg(command));

    let before: Vec<_> = scene.processes().iter().map(Proc::pid).collect();
    let start = inside(subject.launch(&scene));
    if !start.says_ready() {
        return table.answer(
            "C1",
            false,
            format!("it does not start there: {}", start.ended()),
        );
    }
    let running = status();
    let mut daemon = scene.processes();
    daemon.retain(|process| !before.contains(&process.pid()));
    for process in &daemon {
        process.send(libc::SIGKILL);
    }
    holds_within(subject.patience, || daemon.iter().all(Proc::is_gone));
    let killed = status();
    let evidence = format!(
        "while it runs: {}; when it was killed: {}",
        running.ended(),
        killed.ended()
    );
    table.answer(
        "C1",
        running.says_ready() && killed.is_refused() && !daemon.is_empty(),
        evidence,
    );
}
