//! Interleaved runs of several programs, and what comes of them.

use std::fmt;
use std::time::Duration;

use daemon_bench::tidy;
use serde::Serialize;

use crate::measure::end_daemons;

/// How often each program is run before it counts.
const WARM_UP: usize = 5;

/// Something to measure: its name, and what does it once and says how long it took.
pub struct Subject<'a> {
    pub name: String,
    pub run: Box<dyn FnMut() -> Duration + 'a>,
}

impl<'a> Subject<'a> {
    /// With the end of the daemons that it leaves, which does not count.
    pub fn with_daemons(name: impl Into<String>, mut run: impl FnMut() -> Duration + 'a) -> Self {
        let run = move || {
            let took = run();
            end_daemons();
            tidy();
            took
        };
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }
}

#[derive(Serialize)]
pub struct Table {
    pub title: String,
    pub rows: Vec<Row>,
}

/// Microseconds, and the ratio to the reference within the same round.
#[derive(Serialize)]
pub struct Row {
    pub name: String,
    pub time: Spread,
    pub ratio: Spread,
    pub reference: String,
}

#[derive(Clone, Copy, Serialize)]
pub struct Spread {
    pub p25: f64,
    pub median: f64,
    pub p75: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |percent: usize| values[(values.len() - 1) * percent / 100];
        Self {
            p25: at(25),
            median: at(50),
            p75: at(75),
        }
    }
}

impl Table {
    /// Runs all subjects once a round, in another order each time, so that none always follows the
    /// same one. Each is compared with the last reference before it or at its own place.
    pub fn measure(
        title: &str,
        rounds: usize,
        references: &[usize],
        mut subjects: Vec<Subject<'_>>,
    ) -> Self {
        for subject in &mut subjects {
            (0..WARM_UP).for_each(|_| _ = (subject.run)());
        }
        let mut times = vec![Vec::with_capacity(rounds); subjects.len()];
        let mut order: Vec<usize> = (0..subjects.len()).collect();
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for _ in 0..rounds {
            random.shuffle(&mut order);
            for &index in &order {
                times[index].push((subjects[index].run)().as_secs_f64() * 1e6);
            }
        }
        let row = |(index, subject): (usize, Subject<'_>)| {
            let reference = *references
                .iter()
                .filter(|&&at| at <= index)
                .max()
                .expect("the first is one");
            let ratios = times[index]
                .iter()
                .zip(&times[reference])
                .map(|(time, floor)| time / floor);
            (
                subject.name,
                reference,
                Spread::of(times[index].clone()),
                Spread::of(ratios.collect()),
            )
        };
        let rows: Vec<_> = subjects.into_iter().enumerate().map(row).collect();
        let names: Vec<String> = rows.iter().map(|(name, ..)| name.clone()).collect();
        let rows = rows
            .into_iter()
            .map(|(name, reference, time, ratio)| Row {
                name,
                time,
                ratio,
                reference: names[reference].clone(),
            })
            .collect();
        Self {
            title: title.to_owned(),
            rows,
        }
    }

    /// With the rows of another one below.
    pub fn followed_by(mut self, other: Self) -> Self {
        self.rows.extend(other.rows);
        self
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.title)?;
        writeln!(
            f,
            "| | median, µs | p25–p75 | ratio | p25–p75 | to |\n| --- | --: | --: | --: | --: | --- |"
        )?;
        for Row {
            name,
            time,
            ratio,
            reference,
        } in &self.rows
        {
            let Spread { p25, median, p75 } = ratio;
            write!(
                f,
                "| {name} | {:.0} | {:.0}–{:.0} ",
                time.median, time.p25, time.p75
            )?;
            writeln!(f, "| {median:.3} | {p25:.3}–{p75:.3} | {reference} |")?;
        }
        Ok(())
    }
}

/// xorshift64: enough to mix an order.
struct Random(u64);

impl Random {
    fn shuffle(&mut self, items: &mut [usize]) {
        for last in (1..items.len()).rev() {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            items.swap(
                last,
                usize::try_from(self.0 % (last as u64 + 1)).expect("small"),
            );
        }
    }
}
