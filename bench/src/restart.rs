//! Restarting a service that serves.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use daemon_bench::PLACE;

use crate::measure::Program;
use crate::table::{Subject, Table};

/// What the clients have seen.
#[derive(Default)]
struct Clients {
    over: AtomicBool,
    answered: AtomicUsize,
    failed: AtomicUsize,
}

impl Clients {
    /// Asks again and again, a thousand times a second.
    fn ask(&self) {
        while !self.over.load(Ordering::Relaxed) {
            let answer = UnixStream::connect(format!("{PLACE}/server.socket"))
                .and_then(|mut connection| connection.read_exact(&mut [0]));
            let count = if answer.is_ok() {
                &self.answered
            } else {
                &self.failed
            };
            count.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(1));
        }
    }
}

pub fn restart(programs: &Path, rounds: usize) -> Vec<Table> {
    let server = |argument: &str| Program::new(programs.join("server")).argument(argument);
    let (handing_over, others) = (Clients::default(), Clients::default());
    let subject = |name: &str, clients, commands: Vec<Program>| {
        let start = server("start");
        Subject::with_daemons(name, move || {
            start.run();
            under_load(clients, &commands)
        })
    };
    let subjects = vec![
        subject(
            "stop, then start",
            &others,
            vec![server("stop"), server("start")],
        ),
        subject("restart", &handing_over, vec![server("restart")]),
    ];
    let table = Table::measure("Restart under load", rounds.div_ceil(3), &[0], subjects);
    for (row, clients) in table.rows.iter().zip([others, handing_over]) {
        let (answered, failed) = (clients.answered.into_inner(), clients.failed.into_inner());
        println!(
            "{}: {answered} requests answered, {failed} failed",
            row.name
        );
    }
    vec![table]
}

/// How long the commands take while clients ask.
fn under_load(clients: &Clients, commands: &[Program]) -> Duration {
    clients.over.store(false, Ordering::Relaxed);
    thread::scope(|scope| {
        let before = clients.answered.load(Ordering::Relaxed);
        for _ in 0..4 {
            scope.spawn(|| clients.ask());
        }
        while clients.answered.load(Ordering::Relaxed) < before + 4 {
            thread::sleep(Duration::from_millis(1));
        }
        let began = Instant::now();
        commands.iter().for_each(|command| _ = command.run());
        let took = began.elapsed();
        // And for some time after.
        thread::sleep(Duration::from_millis(20));
        clients.over.store(true, Ordering::Relaxed);
        took
    })
}
