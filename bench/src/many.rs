//! Many services, sockets and connections: what grows with what.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use daemon_bench::PLACE;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::wait;

use crate::measure::{Program, children, run_at_once};
use crate::table::{Subject, Table};

const SERVICES: [usize; 3] = [10, 100, 1000];
const SOCKETS: [usize; 4] = [1, 252, 1000, 4000];
const CONNECTIONS: [usize; 3] = [100, 1000, 10_000];

pub fn many(programs: &Path, rounds: usize) -> Vec<Table> {
    // The last part: the limit matters to no other.
    setrlimit(Resource::RLIMIT_NOFILE, 20_000, 20_000).expect("root may");
    let few = rounds.div_ceil(50);
    let mut tables = Vec::new();
    for count in SERVICES {
        tables.push(started(programs, few, count));
    }
    for count in SERVICES {
        tables.push(stopped(programs, few, count));
    }
    tables.push(listening(programs, rounds));
    tables.push(restarted(programs, rounds));
    tables.push(connected(programs, few));
    tables
        .into_iter()
        .reduce(Table::followed_by)
        .into_iter()
        .collect()
}

fn pidfile(number: usize) -> PathBuf {
    PathBuf::from(PLACE).join(format!("{number}.pid"))
}

/// Services that are started at once, until each starter has ended.
fn started(programs: &Path, rounds: usize, count: usize) -> Table {
    let all = |name: &str| -> Vec<_> {
        let program = |number| Program::new(programs.join(name)).argument(pidfile(number));
        (0..count).map(program).collect()
    };
    let without = |name: &str| -> Vec<_> {
        (0..count)
            .map(|_| Program::new(programs.join(name)))
            .collect()
    };
    let (floor, ours, each) = (without("floor"), without("ours"), all("ours_each"));
    let subjects = vec![
        Subject::with_daemons(format!("{count} floors at once"), || run_at_once(&floor)),
        Subject::with_daemons(format!("{count} of ours"), || run_at_once(&ours)),
        Subject::with_daemons(format!("{count} of ours with pidfiles"), || {
            run_at_once(&each)
        }),
    ];
    Table::measure("Many", rounds, &[0], subjects)
}

/// The same services stopped at once.
fn stopped(programs: &Path, rounds: usize, count: usize) -> Table {
    let program = |name: &str, number| Program::new(programs.join(name)).argument(pidfile(number));
    let services: Vec<_> = (0..count)
        .map(|number| program("ours_each", number))
        .collect();
    let stops: Vec<_> = (0..count).map(|number| program("stop", number)).collect();
    let subjects = vec![
        Subject::with_daemons(format!("{count} stopped by kill(2) and wait(2)"), || {
            run_at_once(&services);
            let began = Instant::now();
            for service in children() {
                kill(service, Signal::SIGTERM).expect("it is a child");
            }
            while wait().is_ok() {}
            began.elapsed()
        }),
        Subject::with_daemons(format!("{count} stopped by as many programs"), || {
            run_at_once(&services);
            run_at_once(&stops)
        }),
    ];
    Table::measure("Stopped at once", rounds, &[0], subjects)
}

fn server(programs: &Path, command: &str, sockets: usize) -> Program {
    let server = Program::new(programs.join("server"));
    server.argument(command).argument(sockets.to_string())
}

fn listening(programs: &Path, rounds: usize) -> Table {
    let subjects = SOCKETS.map(|count| {
        let start = server(programs, "start", count);
        Subject::with_daemons(format!("start, {count} listeners"), move || start.run())
    });
    Table::measure(
        "A start that opens listeners",
        rounds,
        &[0],
        subjects.into(),
    )
}

fn restarted(programs: &Path, rounds: usize) -> Table {
    let subjects = SOCKETS.map(|count| {
        let (start, restart) = (
            server(programs, "start", count),
            server(programs, "restart", count),
        );
        Subject::with_daemons(format!("restart, {count} listeners"), move || {
            start.run();
            restart.run()
        })
    });
    Table::measure(
        "A restart that hands listeners over",
        rounds,
        &[0],
        subjects.into(),
    )
}

/// Kept connections to webapp, each with one more answer of the old instance, which says that it is
/// the last one.
fn connected(programs: &Path, rounds: usize) -> Table {
    let webapp = |command: &str| {
        let program = Program::new(programs.join("webapp"));
        program.argument("--port=7788").argument(command)
    };
    let subjects = CONNECTIONS.map(|count| {
        Subject::with_daemons(format!("restart, {count} connections"), move || {
            webapp("start").run();
            let connect = |_| TcpStream::connect("127.0.0.1:7788").expect("it listens");
            let clients: Vec<_> = (0..count).map(connect).collect();
            for client in &clients {
                assert!(!is_last(client));
            }
            let began = Instant::now();
            thread::scope(|scope| {
                scope.spawn(|| webapp("restart").run());
                while !is_last(&clients[0]) {}
                assert!(clients[1..].iter().all(is_last), "a connection is cut");
            });
            began.elapsed()
        })
    });
    Table::measure("Kept connections", rounds, &[0], subjects.into())
}

/// Asks once; whether the answer is the last one on this connection.
fn is_last(mut client: &TcpStream) -> bool {
    const END: &[u8] = b"all the same.\n";
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("it is open");
    let (mut answer, mut bytes) = (Vec::new(), [0; 4096]);
    while !answer.ends_with(END) {
        let length = client.read(&mut bytes).expect("an answer");
        assert_ne!(length, 0, "cut short: {answer:?}");
        answer.extend_from_slice(&bytes[..length]);
    }
    answer
        .windows(17)
        .any(|part| part.eq_ignore_ascii_case(b"connection: close"))
}
