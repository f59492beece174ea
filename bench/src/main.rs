//! The harness: `daemon-bench DIRECTORY ROUNDS [PART]…`, called by `run`, which has put all
//! programs into the directory.
//!
//! `daemon-bench DIRECTORY ROUNDS compare PROGRAM…` compares daemons, such as those of two
//! versions, with the first one.

mod machine;
mod many;
mod measure;
mod parts;
mod plot;
mod resident;
mod restart;
mod stop;
mod table;

use std::path::PathBuf;
use std::{env, fs, process};

use daemon_bench::PLACE;
use serde::Serialize;
use table::Table;

/// What `results.json` holds.
#[derive(Serialize)]
struct Results {
    machine: machine::Machine,
    rounds: usize,
    tables: Vec<Table>,
    resident: Vec<resident::Resident>,
}

fn main() {
    let mut arguments = env::args().skip(1);
    let programs = PathBuf::from(arguments.next().expect("the directory of the programs"));
    let rounds = arguments
        .next()
        .and_then(|rounds| rounds.parse().ok())
        .expect("how many rounds");
    let wanted: Vec<String> = arguments.collect();
    let wants = |part: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == part);

    let ground = match measure::Ground::prepare() {
        Ok(ground) => ground,
        Err(error) => {
            eprintln!("{PLACE}: {error}. Only root can run this, and only once at a time.");
            process::exit(1);
        }
    };
    let mut results = Results {
        machine: machine::Machine::this(),
        rounds,
        tables: Vec::new(),
        resident: Vec::new(),
    };
    for (name, part) in parts::ALL {
        if wants(name) {
            for table in part(&programs, rounds) {
                println!("{table}");
                results.tables.push(table);
            }
        }
    }
    if let [compare, others @ ..] = &wanted[..]
        && compare == "compare"
    {
        println!("{}", parts::compare(others, rounds));
    }
    if wants("resident") {
        results.resident = resident::measure(&programs);
        resident::print(&results.resident);
    }
    drop(ground);

    // A part alone is for trying something out.
    if wanted.is_empty() {
        let json = serde_json::to_string_pretty(&results).expect("no map, no failing type");
        fs::write("results.json", json + "\n").expect("results.json");
        fs::write("../docs/start.svg", plot::bars(&results.tables[0])).expect("start.svg");
    }
}
