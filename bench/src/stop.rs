//! Stopping a service, from the call to its return.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use daemon_bench::PLACE;
use daemon_rt::control::{Control, Stopped};

use crate::measure::{Program, children, end};
use crate::table::{Subject, Table};

/// Each stops the same service, which ends at once when it is told to.
pub fn stop(programs: &Path, rounds: usize) -> Vec<Table> {
    let pidfile = PathBuf::from(PLACE).join("ours_pidfile.pid");
    let service = Program::new(programs.join("ours_pidfile"));
    let subject = |name: &str, stop: Box<dyn Fn()>| {
        let service = &service;
        Subject::with_daemons(name, move || {
            service.run();
            let began = Instant::now();
            stop();
            began.elapsed()
        })
    };
    let program = |program: Program| Box::new(move || _ = program.run());

    let control = Control::new(&pidfile);
    let call = move || {
        let stopped = control.stop(Duration::from_secs(5));
        assert!(
            matches!(stopped, Ok(Stopped::Terminated { .. })),
            "{stopped:?}"
        );
    };
    let command = Program::new(programs.join("stop")).argument(&pidfile);
    let mut subjects = vec![
        subject(
            "kill(2) and waitpid(2)",
            Box::new(|| children().into_iter().for_each(end)),
        ),
        subject("`Control::stop`, a call", Box::new(call)),
        subject("`Control::stop`, a program", program(command)),
    ];
    let other = "/sbin/start-stop-daemon";
    if Path::new(other).exists() {
        let arguments = ["--stop", "--quiet", "--retry", "5", "--pidfile"];
        let other = arguments
            .iter()
            .fold(Program::new(other), Program::argument)
            .argument(&pidfile);
        subjects.push(subject(
            "start-stop-daemon --stop --retry 5",
            program(other),
        ));
    }
    vec![Table::measure("Stop", rounds.div_ceil(3), &[0], subjects)]
}
