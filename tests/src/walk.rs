//! The frame of a walk through all cases of something, or through a sample of them.

use std::env;
use std::error::Error;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use clap::Parser;
use daemon_harness::text_of;

/// Walks through all cases, or a sample of them. The exit status is 1 if there is a violation.
#[derive(Debug, Parser)]
pub struct Walk {
    /// How many cases, chosen by the seed [default: all]
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// Another number, another sample
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many at a time
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// Those alone whose description, as the list of violations shows it, contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

impl Walk {
    /// Walks, as the `main` of a program, which needs root. `walk` returns the violations.
    pub fn main(walk: impl FnOnce(&Self) -> Result<Vec<String>, Box<dyn Error>>) -> ExitCode {
        let options = Self::parse();
        if !nix::unistd::geteuid().is_root() {
            eprintln!("needs root");
            return ExitCode::from(2);
        }
        // What the harness's assertions say is reported with the case.
        panic::set_hook(Box::new(|_| ()));
        let began = Instant::now();
        let violations = match walk(&options) {
            Ok(violations) => violations,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(2);
            }
        };
        println!(
            "{} violations, in {:.0?}",
            violations.len(),
            began.elapsed()
        );
        for violation in &violations {
            println!("\nVIOLATION {violation}");
        }
        ExitCode::from(u8::from(!violations.is_empty()))
    }

    /// Chooses the cases, and says how many of how many they are.
    pub fn choose<T>(&self, mut cases: Vec<T>, shown: impl Fn(&T) -> String) -> Vec<T> {
        cases.retain(|case| shown(case).contains(&self.only));
        let all = cases.len();
        if let Some(sample) = self.sample {
            fastrand::Rng::with_seed(self.seed).shuffle(&mut cases);
            cases.truncate(sample);
        }
        println!("{} of {all}, seed {}", cases.len(), self.seed);
        cases
    }

    /// Tries each, by its number and itself. Where that panics, the outcome is what the panic said.
    pub fn each<T: Sync, R: Send>(
        &self,
        cases: &[T],
        attempt: impl Fn(usize, &T) -> R + Sync,
    ) -> Vec<Result<R, String>> {
        let next = AtomicUsize::new(0);
        let outcomes = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some(case) = cases.get(number) else {
                            return;
                        };
                        let outcome = catch_unwind(AssertUnwindSafe(|| attempt(number, case)));
                        let mut outcomes = outcomes.lock().expect("no panic while counting");
                        outcomes.push((number, outcome.map_err(text_of)));
                    }
                });
            }
        });
        let mut outcomes = outcomes.into_inner().expect("no panic while counting");
        outcomes.sort_unstable_by_key(|(number, _)| *number);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }
}

/// Has a program walk a sample of so many, or as many as `DAEMON_TESTS_SAMPLE` says, and fails if
/// it finds a violation. `DAEMON_TESTS_SEED` chooses another sample.
pub fn sample(program: &Path, size: usize, arguments: &[&str]) {
    let number = |name: &str, default: usize| env::var(name).unwrap_or(default.to_string());
    let walk = Command::new(program)
        .args(["--sample", &number("DAEMON_TESTS_SAMPLE", size)])
        .args(["--seed", &number("DAEMON_TESTS_SEED", 1)])
        .args(arguments)
        .output()
        .expect("the walk");
    let said = [walk.stdout, walk.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(walk.status.success(), "{said}");
    assert!(
        said.contains(", seed ") && !said.starts_with("0 of "),
        "{said}"
    );
}
