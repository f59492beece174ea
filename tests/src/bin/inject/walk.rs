//! The walk: all faults of all scenarios, by some workers, and the table of what came of them.

use std::collections::HashMap;
use std::error::Error;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use daemon_harness::{Scene, shuffle};
use nix::errno::Errno;
use nix::unistd::Pid;

use crate::faults::{Fault, kind};
use crate::scenarios::{SCENARIOS, Scenario, Stage};
use crate::tracer::{self, Call, ROLES, Role, Seen};
use crate::verdict::{self, Case, Outcome};

struct Options {
    sample: Option<usize>,
    seed: u64,
    jobs: usize,
    scenario: Option<String>,
    only: String,
}

/// One call of one start, and what befalls it.
struct Strike {
    scenario: Scenario,
    call: Call,
    fault: Fault,
}

impl Strike {
    /// What comes of it. What takes too long is tried again: on a busy machine it may once.
    fn tried(&self) -> Result<Outcome, String> {
        let once = || run(self.scenario, Some((&self.call, self.fault))).0;
        let too_long = |outcome: &Result<_, String>| {
            outcome
                .as_ref()
                .is_err_and(|problem| problem.starts_with(verdict::TOO_LONG))
        };
        let mut outcome = once();
        for _ in 0..2 {
            if too_long(&outcome) {
                outcome = once();
            }
        }
        outcome
    }

    fn shown(&self) -> String {
        let Self {
            scenario,
            call,
            fault,
        } = self;
        let fault = match fault {
            Fault::Kill => "SIGKILL".to_owned(),
            Fault::Error(error) => format!("{:?}", Errno::from_raw(*error)),
        };
        format!(
            "{scenario:?}/{:?}: {} #{}: {fault}",
            call.role, call.shown, call.nth
        )
    }
}

pub(crate) fn main() -> ExitCode {
    match options().and_then(|options| walk(&options)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("inject: {error}");
            ExitCode::from(2)
        }
    }
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        sample: None,
        seed: 1,
        jobs: 2,
        scenario: None,
        only: String::new(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments
            .next()
            .ok_or_else(|| format!("{argument} needs a value"))?;
        match argument.as_str() {
            "--sample" => options.sample = Some(value.parse()?),
            "--seed" => options.seed = value.parse()?,
            "--jobs" => options.jobs = value.parse()?,
            "--scenario" => options.scenario = Some(value),
            "--only" => options.only = value,
            _ => return Err(format!("unknown option {argument}").into()),
        }
    }
    Ok(options)
}

fn walk(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    if !nix::unistd::geteuid().is_root() {
        return Err("needs root, whose privileges the service gives up".into());
    }
    // What the checks' assertions say is reported with the fault.
    panic::set_hook(Box::new(|_| ()));
    let began = Instant::now();
    let mut table = HashMap::<(usize, Role), Row>::new();
    let mut strikes = Vec::new();
    for (place, &scenario) in SCENARIOS.iter().enumerate() {
        if options
            .scenario
            .as_ref()
            .is_some_and(|wanted| *wanted != format!("{scenario:?}"))
        {
            continue;
        }
        for call in record(scenario)? {
            let kind = kind(call.number)
                .ok_or_else(|| format!("no faults are listed for {}", call.shown))?;
            table.entry((place, call.role)).or_default().calls += 1;
            strikes.extend(kind.faults().map(|fault| Strike {
                scenario,
                call: call.clone(),
                fault,
            }));
        }
    }
    strikes.retain(|strike| strike.shown().contains(&options.only));
    let all = strikes.len();
    if let Some(sample) = options.sample {
        shuffle(&mut strikes, options.seed);
        strikes.truncate(sample);
    }
    println!("{} of {all} faults, seed {}", strikes.len(), options.seed);

    let violations = try_all(&strikes, options.jobs, &mut table);
    print(&table);
    println!(
        "{} faults in {:.0?}, {} violations",
        strikes.len(),
        began.elapsed(),
        violations.len()
    );
    for violation in &violations {
        println!("\nVIOLATION {violation}");
    }
    Ok(if violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The calls of a start without a fault.
fn record(scenario: Scenario) -> Result<Vec<Call>, String> {
    match run(scenario, None) {
        (Ok(_), seen) => Ok(seen.calls),
        (Err(problem), _) => Err(format!("{scenario:?} without a fault: {problem}")),
    }
}

/// Makes a start, and judges it.
fn run(scenario: Scenario, strike: Option<(&Call, Fault)>) -> (Result<Outcome, String>, Seen) {
    let scene = Scene::new();
    let Stage {
        launch,
        manager,
        old,
    } = scenario.stage(&scene);
    let old_pid = old.as_ref().map(|old| Pid::from_raw(old.process.pid()));
    let (running, seen) = tracer::run(scenario, &scene, launch, old_pid, strike);
    let fault = strike.map(|(_, fault)| fault);
    let case = Case {
        scenario,
        scene: &scene,
        old,
        fault,
        seen,
    };
    (verdict::judge(&case, manager, running), case.seen)
}

/// Tries them all; the violations.
fn try_all(
    strikes: &[Strike],
    jobs: usize,
    table: &mut HashMap<(usize, Role), Row>,
) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new((table, Vec::new()));
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(strike) = strikes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome =
                        catch_unwind(AssertUnwindSafe(|| strike.tried())).unwrap_or_else(|panic| {
                            Err(format!("{:?}", panic.downcast_ref::<String>()))
                        });
                    let mut results = results.lock().expect("no panic while counting");
                    let (table, violations) = &mut *results;
                    let place = SCENARIOS
                        .iter()
                        .position(|&scenario| scenario == strike.scenario)
                        .expect("one of them");
                    let row = table.entry((place, strike.call.role)).or_default();
                    row.tried += 1;
                    match outcome {
                        Ok(outcome) => *row.outcomes.entry(outcome).or_default() += 1,
                        Err(problem) => {
                            row.violations += 1;
                            violations.push(format!("{}\n{problem}", strike.shown()));
                        }
                    }
                }
            });
        }
    });
    results.into_inner().expect("no panic while counting").1
}

#[derive(Default)]
struct Row {
    calls: usize,
    tried: usize,
    outcomes: HashMap<Outcome, usize>,
    violations: usize,
}

fn print(table: &HashMap<(usize, Role), Row>) {
    println!(
        "| start | process | calls | faults | ready | refused | killed | not reached | violations |"
    );
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for (place, scenario) in SCENARIOS.iter().enumerate() {
        for role in ROLES {
            let Some(row) = table.get(&(place, role)) else {
                continue;
            };
            let count = |outcome| row.outcomes.get(&outcome).copied().unwrap_or(0);
            let [ready, refused, killed, missed] = [
                Outcome::Ready,
                Outcome::Refused,
                Outcome::Killed,
                Outcome::Missed,
            ]
            .map(count);
            let Row {
                calls,
                tried,
                violations,
                ..
            } = row;
            println!(
                "| {scenario:?} | {role:?} | {calls} | {tried} | {ready} | {refused} | {killed} | {missed} | {violations} |"
            );
        }
    }
}
