//! What is measured.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{hint, thread};

use daemon_bench::tidy;
use nix::fcntl::{OFlag, open};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use crate::measure::{Program, end_daemons};
use crate::table::{Subject, Table};
use crate::{many, restart, stop};

type Part = fn(&Path, usize) -> Vec<Table>;

/// The parts by their names, the start first: it is the one that is plotted.
pub const ALL: [(&str, Part); 10] = [
    ("start", start),
    ("processor", processor),
    ("busy", busy),
    ("descriptors", descriptors),
    ("limit", limit),
    ("memory", memory),
    ("refusal", refusal),
    ("stop", stop::stop),
    ("restart", restart::restart),
    ("many", many::many),
];

/// The floor that does what a pidfile and a user take.
const WITH_BOTH: &str = "floor + pidfile, user and groups";

fn both(floor: Program) -> Program {
    floor.argument("--lookups").argument("--pidfile")
}

/// A start.
fn daemon<'a>(name: &str, program: Program) -> Subject<'a> {
    Subject::with_daemons(name, move || program.run())
}

/// The start of any daemons, in comparison with the first.
pub fn compare(programs: &[String], rounds: usize) -> Table {
    let subjects = programs
        .iter()
        .map(|program| daemon(program, Program::new(program).copied()))
        .collect();
    Table::measure("Compared", rounds, &[0], subjects)
}

/// Each floor with those that are compared with it.
fn start(programs: &Path, rounds: usize) -> Vec<Table> {
    let at = |name: &str| Program::new(programs.join(name)).copied();
    let mut without_user = vec![
        daemon("floor: two forks, setsid, one byte", at("floor")),
        daemon("ours, no settings", at("ours")),
        daemon("ours, started late", at("ours_late")),
        daemon("the floor in C", at("c-floor")),
        daemon("daemon(3) in C, one fork", at("c-daemon3")),
        daemon("daemon(7)'s steps in C", at("c-steps")),
        daemon("daemonize", at("daemonize")),
        daemon("fork", at("fork")),
        daemon("dmon", at("dmon")),
    ];
    // Debian's python3 knows Debian's python-daemon.
    if Path::new("/usr/lib/python3/dist-packages/daemon").exists() {
        let python = Program::new("/usr/bin/python3").argument(programs.join("python_daemon.py"));
        without_user.push(daemon("python-daemon", python));
    }
    let with_pidfile = vec![
        daemon("floor + pidfile", at("floor").argument("--pidfile")),
        daemon("ours, pidfile", at("ours_pidfile")),
    ];
    let with_user = vec![
        daemon("floor + user and groups", at("floor").argument("--lookups")),
        daemon("ours, user", at("ours_nobody")),
    ];
    let with_both = vec![
        daemon(WITH_BOTH, both(at("floor"))),
        daemon("ours, pidfile and user", at("ours_user")),
        daemon("ours, every setting", at("ours_full")),
        daemon("daemonize, pidfile and user", at("daemonize_user")),
        daemon("dmon, pidfile and user", at("dmon_user")),
    ];
    let musl = vec![
        daemon("floor, musl", at("musl-floor")),
        daemon("ours, no settings, musl", at("musl-ours")),
        daemon("ours, pidfile and user, musl", at("musl-ours_user")),
    ];
    let mut groups = vec![without_user, with_pidfile, with_user, with_both];
    groups.extend(programs.join("musl-ours").exists().then_some(musl));
    let tables = groups
        .into_iter()
        .map(|group| Table::measure("From exec to the starter's exit 0", rounds, &[0], group));
    tables.reduce(Table::followed_by).into_iter().collect()
}

/// The same where starter, intermediate process and daemon share one processor, as on a machine
/// that has no other or is busy: what all of them do, one after the other.
fn processor(programs: &Path, rounds: usize) -> Vec<Table> {
    let this = Pid::from_raw(0);
    let before = sched_getaffinity(this).expect("Linux");
    let mut one = CpuSet::new();
    let first = (0..CpuSet::count())
        .find(|&cpu| before.is_set(cpu) == Ok(true))
        .expect("this runs on one");
    one.set(first)
        .and_then(|()| sched_setaffinity(this, &one))
        .expect("it is one of this process's");
    let table = beside_crates("On one processor", programs, rounds);
    sched_setaffinity(this, &before).expect("it was so before");
    vec![table]
}

/// The same on a machine that is busy: a loop on each processor.
fn busy(programs: &Path, rounds: usize) -> Vec<Table> {
    let over = AtomicBool::new(false);
    let table = thread::scope(|scope| {
        for cpu in 0..thread::available_parallelism().map_or(1, usize::from) {
            let over = &over;
            scope.spawn(move || {
                let mut one = CpuSet::new();
                _ = one.set(cpu);
                _ = sched_setaffinity(Pid::from_raw(0), &one);
                while !over.load(Ordering::Relaxed) {
                    hint::spin_loop();
                }
            });
        }
        let table = beside_crates("A loop on each processor", programs, rounds);
        over.store(true, Ordering::Relaxed);
        table
    });
    vec![table]
}

/// Starts beside those of the crates that do as much.
fn beside_crates(title: &str, programs: &Path, rounds: usize) -> Table {
    let at = |name: &str| Program::new(programs.join(name)).copied();
    let subjects = vec![
        daemon("floor", at("floor")),
        daemon("ours, no settings", at("ours")),
        daemon("daemonize", at("daemonize")),
        daemon("fork", at("fork")),
        daemon("dmon", at("dmon")),
        daemon(WITH_BOTH, both(at("floor"))),
        daemon("ours, pidfile and user", at("ours_user")),
        daemon("dmon, pidfile and user", at("dmon_user")),
    ];
    Table::measure(title, rounds, &[0, 5], subjects)
}

/// Descriptors that the starter inherits.
fn descriptors(programs: &Path, rounds: usize) -> Vec<Table> {
    let at = |name: &str| Program::new(programs.join(name));
    let table = |count| {
        // These are not closed on exec.
        let null = || {
            open("/dev/null", OFlag::O_RDONLY, Mode::empty()).expect("the limit allows that many")
        };
        let inherited: Vec<_> = (0..count).map(|_| null()).collect();
        let subjects = vec![
            daemon("floor", at("floor")),
            daemon("ours, no settings", at("ours")),
            daemon("ours, started late", at("ours_late")),
            daemon("daemon(7)'s steps in C", at("c-steps")),
        ];
        let table = Table::measure(
            &format!("{count} inherited descriptors"),
            rounds,
            &[0],
            subjects,
        );
        drop(inherited);
        table
    };
    [20, 2_000, 15_000].map(table).into()
}

/// The limit of descriptors, which must not matter.
fn limit(programs: &Path, rounds: usize) -> Vec<Table> {
    let at = |name: &str| Program::new(programs.join(name));
    let before = getrlimit(Resource::RLIMIT_NOFILE).expect("Linux");
    let table = |limit| {
        setrlimit(Resource::RLIMIT_NOFILE, limit, limit.max(before.1)).ok()?;
        let subjects = vec![
            daemon("floor", at("floor")),
            daemon("ours, no settings", at("ours")),
            daemon("daemon(7)'s steps in C", at("c-steps")),
        ];
        let rounds = if limit > 100_000 {
            rounds.div_ceil(10)
        } else {
            rounds
        };
        Some(Table::measure(
            &format!("RLIMIT_NOFILE {limit}"),
            rounds,
            &[0],
            subjects,
        ))
    };
    let tables = [1_024, 20_000, 1_048_576]
        .into_iter()
        .filter_map(table)
        .collect();
    setrlimit(Resource::RLIMIT_NOFILE, before.0, before.1).expect("it was so before");
    tables
}

/// Much memory that is in use when the process forks, or later.
fn memory(programs: &Path, rounds: usize) -> Vec<Table> {
    let table = |mebibytes: usize| {
        let at = |place: &str| {
            Program::new(programs.join("memory"))
                .argument(place)
                .argument(mebibytes.to_string())
        };
        let huge = "GLIBC_TUNABLES=glibc.malloc.hugetlb=1";
        let subjects = vec![
            daemon("an empty program that touches it", at("empty")),
            daemon("floor, before the forks", at("floor")),
            daemon("ours, in `configure`", at("configure")),
            daemon("ours, in `init`", at("init")),
            daemon("an empty program, huge pages", at("empty").variable(huge)),
            daemon(
                "ours, in `configure`, huge pages",
                at("configure").variable(huge),
            ),
        ];
        // A gibibyte takes a quarter of a second.
        let rounds = rounds.div_ceil(if mebibytes > 100 { 20 } else { 4 });
        Table::measure(
            &format!("{mebibytes} MiB touched"),
            rounds,
            &[0, 4],
            subjects,
        )
    };
    [10, 100, 1024].map(table).into()
}

/// A second start while the service runs.
fn refusal(programs: &Path, rounds: usize) -> Vec<Table> {
    const REFUSED: i32 = 80;
    let at = |name: &str| Program::new(programs.join(name)).heard().copied();
    let alone = |name: &str, program: Program| Subject {
        name: name.to_owned(),
        run: Box::new(move || program.run()),
    };
    at("ours_pidfile").run();
    at("ours_user").run();
    let subjects = vec![
        alone("an empty program", at("empty")),
        alone(
            "a refused start, pidfile",
            at("ours_pidfile").fails_with(REFUSED),
        ),
        alone(
            "a refused start, pidfile and user",
            at("ours_user").fails_with(REFUSED),
        ),
    ];
    let table = Table::measure("A second start is refused", rounds, &[0], subjects);
    end_daemons();
    tidy();
    vec![table]
}
