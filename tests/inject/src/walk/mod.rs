//! The walk: all faults of all scenarios, and the table of what came of them.
//!
//! | module | holds |
//! | --- | --- |
//! | `scenarios` | the starts that are walked |
//! | `services` | the services that are started |
//! | `faults` | what can go wrong with each system call |
//! | `strike` | the strike at one call of one process |
//! | `manager` | the manager that some starts have |
//! | `verdict` | whether what came of it is all right |

mod faults;
mod manager;
mod scenarios;
mod services;
mod strike;
mod verdict;

use std::collections::HashMap;
use std::error::Error;
use std::process::ExitCode;

use daemon_harness::{Scene, keeper};
use daemon_tests::walk::Walk;
use faults::{Fault, kind};
use nix::errno::Errno;
use nix::unistd::Pid;
use scenarios::{SCENARIOS, Scenario, Stage};
use strike::{Call, ROLES, Role, Seen};
use verdict::{Case, Outcome};

/// One call of one start, and what befalls it.
struct Strike {
    /// Of the scenario.
    place: usize,
    call: Call,
    fault: Fault,
}

impl Strike {
    /// What comes of it. What takes too long is tried again: on a busy machine it may once.
    fn tried(&self) -> Result<Outcome, String> {
        let once = || run(SCENARIOS[self.place], Some((&self.call, self.fault))).0;
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
        let Self { place, call, fault } = self;
        let scenario = SCENARIOS[*place];
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
    if let Some(service) = services::called() {
        return service();
    }
    keeper::within_this_program();
    Walk::main(walk)
}

fn walk(options: &Walk) -> Result<Vec<String>, Box<dyn Error>> {
    let mut table = HashMap::<(usize, Role), Row>::new();
    let mut strikes = Vec::new();
    for (place, &scenario) in SCENARIOS.iter().enumerate() {
        for call in record(scenario)? {
            let kind = kind(call.number)
                .ok_or_else(|| format!("no faults are listed for {}", call.shown))?;
            table.entry((place, call.role)).or_default().calls += 1;
            strikes.extend(kind.faults().map(|fault| Strike {
                place,
                call: call.clone(),
                fault,
            }));
        }
    }
    let strikes = options.choose(strikes, Strike::shown);
    let outcomes = options.each(&strikes, |_, strike| strike.tried());
    let mut violations = Vec::new();
    for (strike, outcome) in strikes.iter().zip(outcomes) {
        let row = table.entry((strike.place, strike.call.role)).or_default();
        row.tried += 1;
        match outcome {
            Ok(Ok(outcome)) => *row.outcomes.entry(outcome).or_default() += 1,
            Ok(Err(problem)) | Err(problem) => {
                row.violations += 1;
                violations.push(format!("{}\n{problem}", strike.shown()));
            }
        }
    }
    print(&table);
    Ok(violations)
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
    let (running, seen) = strike::run(scenario, &scene, launch, old_pid, strike);
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
