//! A walk through surroundings: in each of them a service is started, asked, reloaded, restarted
//! and stopped, and what the commands say is compared with what can be seen from outside.
//!
//! ```text
//! cargo build -p daemon-tests --bins && target/debug/surroundings
//! surroundings [--sample N] [--seed S] [--jobs N] [--only TEXT] [--except TEXT]
//! ```
//!
//! The surroundings are a place (the machine, or a pid namespace with one of several kinds of
//! /proc), a user, and what the caller has done with its signals, or that the service is PID 1.
//! `--sample` walks that many of them, chosen by the seed; `--only` those whose description
//! contains the text, as the list of violations shows it, and `--except` those whose does not. The
//! exit status is 1 if there is a violation.
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
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use daemon_harness::text_of;
use stage::Programs;
use steps::{Outcome, STEPS, Step};
use worlds::World;

struct Options {
    sample: Option<usize>,
    seed: u64,
    jobs: usize,
    only: String,
    except: Option<String>,
}

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("init") => bystanders::init(),
        Some("crowd") => bystanders::crowd(),
        _ => {}
    }
    match options().and_then(|options| walk(&options)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("surroundings: {error}");
            ExitCode::from(2)
        }
    }
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        sample: None,
        seed: 1,
        jobs: 2,
        only: String::new(),
        except: None,
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
            "--only" => options.only = value,
            "--except" => options.except = Some(value),
            _ => return Err(format!("unknown option {argument}").into()),
        }
    }
    Ok(options)
}

fn walk(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    if !nix::unistd::geteuid().is_root() {
        return Err("needs root, who makes namespaces and becomes others".into());
    }
    // What the harness's assertions say is reported with the cell.
    panic::set_hook(Box::new(|_| ()));
    let began = Instant::now();
    let mut worlds = worlds::all();
    worlds.retain(|world| world.shown().contains(&options.only));
    worlds.retain(|world| {
        !options
            .except
            .as_ref()
            .is_some_and(|text| world.shown().contains(text))
    });
    let all = worlds.len();
    if let Some(sample) = options.sample {
        daemon_harness::shuffle(&mut worlds, options.seed);
        worlds.truncate(sample);
    }
    println!(
        "{} of {all} surroundings, seed {}",
        worlds.len(),
        options.seed
    );

    let programs = Programs::new()?;
    let cells = walk_all(&worlds, &programs, options.jobs);
    let leaked = programs.running();
    print(&cells);
    let violations: Vec<_> = cells
        .iter()
        .filter_map(|cell| cell.result.as_ref().err().map(|why| (cell, why)))
        .collect();
    println!(
        "{} cells in {:.0?}, {} violations",
        cells.len(),
        began.elapsed(),
        violations.len() + leaked.len()
    );
    for (Cell { world, step, .. }, problem) in &violations {
        println!("VIOLATION {}: {step:?}: {problem}", world.shown());
    }
    for process in &leaked {
        println!("VIOLATION left behind: {process}");
    }
    Ok(if violations.is_empty() && leaked.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// One step in one of the surroundings.
struct Cell {
    world: World,
    step: Step,
    result: Result<Outcome, String>,
}

fn walk_all(worlds: &[World], programs: &Programs, jobs: usize) -> Vec<Cell> {
    let next = AtomicUsize::new(0);
    let cells = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&world) = worlds.get(number) else {
                        return;
                    };
                    let results =
                        catch_unwind(AssertUnwindSafe(|| steps::all(world, programs, number)));
                    let results = results.unwrap_or_else(|panic| {
                        vec![(Step::Start, Err(format!("no stage: {}", text_of(panic))))]
                    });
                    let cell = |(step, result)| Cell {
                        world,
                        step,
                        result,
                    };
                    cells
                        .lock()
                        .expect("no panic while counting")
                        .extend(results.into_iter().map(cell));
                }
            });
        }
    });
    cells.into_inner().expect("no panic while counting")
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
