//! A walk through surroundings: in each of them a service is started, asked, reloaded, restarted
//! and stopped, and what the commands say is compared with what can be seen from outside.
//!
//! ```text
//! cargo build -p daemon-tests --bins && target/debug/surroundings
//! surroundings [--sample N] [--seed S] [--jobs N] [--only TEXT]
//! ```
//!
//! The surroundings are a place (the machine, or a pid namespace with one of several kinds of
//! /proc), a user, and what the caller has done with its signals, or that the service is PID 1.
//!
//! The truth is known without the product's help: a lock that is tried (flock), the service's own
//! socket, and the number of processes that run its program.
//!
//! | module | holds |
//! | --- | --- |
//! | `worlds` | the surroundings |
//! | `stage` | the service in one of them, and what is seen of it from outside |
//! | `steps` | what is done there, and whether what was said is true |
//! | `bystanders` | processes that have nothing to do with it, and must live |

mod bystanders;
mod stage;
mod steps;
mod worlds;

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;

use daemon_tests::walk::Walk;
use stage::Programs;
use steps::{Outcome, STEPS, Step};
use worlds::World;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("init") => bystanders::init(),
        Some("crowd") => bystanders::crowd(),
        _ => Walk::main(walk),
    }
}

fn walk(options: &Walk) -> Result<Vec<String>, Box<dyn Error>> {
    let worlds = options.choose(worlds::all(), |world| world.shown());
    let programs = Programs::new()?;
    let outcomes = options.each(&worlds, |number, world| {
        steps::all(*world, &programs, number)
    });
    let mut cells = Vec::new();
    for (&world, results) in worlds.iter().zip(outcomes) {
        let results =
            results.unwrap_or_else(|panic| vec![(Step::Start, Err(format!("no stage: {panic}")))]);
        cells.extend(results.into_iter().map(|(step, result)| Cell {
            world,
            step,
            result,
        }));
    }
    print(&cells);
    let mut violations = Vec::new();
    for Cell {
        world,
        step,
        result,
    } in &cells
    {
        if let Err(problem) = result {
            violations.push(format!("{}: {step:?}: {problem}", world.shown()));
        }
    }
    let left = programs.running().into_iter();
    violations.extend(left.map(|process| format!("left behind: {process}")));
    Ok(violations)
}

/// One step in one of the surroundings.
struct Cell {
    world: World,
    step: Step,
    result: Result<Outcome, String>,
}

fn print(cells: &[Cell]) {
    println!("| step | as it should | unknown | not applicable | violations |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    for step in STEPS {
        let count = |wanted: Option<Outcome>| {
            let same =
                |cell: &&Cell| cell.step == step && cell.result.as_ref().ok().copied() == wanted;
            cells.iter().filter(same).count()
        };
        let [good, unknown, not_applicable, violations] = [
            Some(Outcome::Good),
            Some(Outcome::Unknown),
            Some(Outcome::NotApplicable),
            None,
        ]
        .map(count);
        println!("| {step:?} | {good} | {unknown} | {not_applicable} | {violations} |");
    }
    let mut reasons = BTreeMap::<&str, usize>::new();
    for world in cells
        .iter()
        .filter(|cell| cell.result == Ok(Outcome::NotApplicable))
    {
        *reasons
            .entry(steps::reason(world.world, world.step))
            .or_default() += 1;
    }
    for (reason, count) in reasons {
        println!("not applicable, {count} cells: {reason}");
    }
}
