//! What is asked of a daemon, and what was found.

use std::collections::BTreeMap;

use serde::Serialize;

/// The questions, by their key: a step of daemon(7), or the number of an edge case.
pub(crate) const QUESTIONS: &[(&str, &str)] = &[
    (
        "start",
        "from a hostile place it starts, and the starter ends with status 0",
    ),
    ("1", "none of the caller's descriptors is open"),
    ("2", "signals that the caller ignored are at their default"),
    ("3", "signals that the caller blocked are not blocked"),
    ("4", "no secret of the caller is in /proc/PID/environ (E35)"),
    ("5", "it is another process than the one that was started"),
    ("6", "it has a session of its own, without a terminal"),
    (
        "7",
        "it does not lead that session, so it can never get a terminal (E13)",
    ),
    ("8", "who led the session has ended: it is a child of init"),
    ("9", "standard input, output and error are not the caller's"),
    ("10", "the umask is not the caller's"),
    ("11", "the working directory is not the caller's"),
    ("12", "the pidfile names it"),
    (
        "13",
        "all user and group ids are changed, no capability is left (E31)",
    ),
    ("13g", "no supplementary group of the caller is left (E30)"),
    (
        "13o",
        "groups, group and user are changed in this order (E33)",
    ),
    (
        "14",
        "the starter waits for the daemon, which is held up, to run",
    ),
    (
        "15",
        "the pidfile is complete before the starter ends (E07)",
    ),
    (
        "E01",
        "its first process killed at setsid(2): the starter ends soon, not with 0 (E03)",
    ),
    (
        "E01w",
        "who writes the pidfile killed at that: the starter ends soon, not with 0",
    ),
    (
        "E04",
        "Ctrl-C while the starter waits: nobody is left, or a daemon runs and the status is 0",
    ),
    (
        "E09",
        "a pidfile that cannot be written, as a directory is there (E21): status not 0, nobody left",
    ),
    (
        "E10",
        "started with descriptors 0-2 closed: it has them, and not on its pidfile",
    ),
    (
        "E11",
        "it makes no call for each descriptor that could be open: some may have a billion",
    ),
    ("E14", "it outlives the terminal it was started on"),
    ("E20", "ten starts at once: one daemon, one status 0"),
    ("E20g", "garbage in the pidfile does not block a start"),
    (
        "E21s",
        "a symbolic link at the pidfile's path: its target is untouched",
    ),
    (
        "E21h",
        "a hard link at the pidfile's path: the file is untouched under its other name",
    ),
    ("E21f", "a FIFO at the pidfile's path: no hang, no false 0"),
    (
        "E22m",
        "umask 0: the pidfile is the starter's, no one else can write it, or open it to lock it",
    ),
    ("E22f", "without privileges, it cannot write its pidfile"),
    (
        "E23",
        "at its end it leaves alone a pidfile that is another's by now",
    ),
    (
        "E24",
        "a second start is refused, status not 0, and the first is untouched",
    ),
    (
        "E25",
        "a stale pid that is another process's by now does not block a start",
    ),
    (
        "E26",
        "after its end the pidfile is gone, or holds no claim where it may not be removed",
    ),
    (
        "E27",
        "what it executes does not inherit the pidfile's lock",
    ),
    (
        "E36",
        "securebits that keep capabilities through setuid(2): none is left",
    ),
    (
        "C1",
        "in a container, without ptrace rights, its status command (--status) says the truth",
    ),
    ("stop", "the stop signal ends it, and nobody is left"),
    (
        "pipes",
        "the caller's pipes are let go of: `ssh host service` returns",
    ),
];

#[derive(Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Pass,
    Fail,
    NotApplicable,
}

#[derive(Serialize)]
pub(crate) struct Row {
    key: &'static str,
    question: &'static str,
    verdict: Verdict,
    evidence: String,
}

/// The answers so far.
#[derive(Default)]
pub(crate) struct Table(BTreeMap<&'static str, (Verdict, String)>);

impl Table {
    /// The answer, with its evidence.
    pub(crate) fn answer(&mut self, key: &'static str, good: bool, evidence: impl Into<String>) {
        self.0.insert(
            key,
            (
                if good { Verdict::Pass } else { Verdict::Fail },
                evidence.into(),
            ),
        );
    }

    pub(crate) fn not_applicable(&mut self, key: &'static str, reason: impl Into<String>) {
        self.0.insert(key, (Verdict::NotApplicable, reason.into()));
    }

    /// Those of them that are not answered do not apply.
    pub(crate) fn leave_out(&mut self, keys: &[&'static str], reason: &str) {
        for key in keys {
            self.0
                .entry(key)
                .or_insert_with(|| (Verdict::NotApplicable, reason.to_owned()));
        }
    }

    /// Whether this is answered.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// All rows, in the order of the questions.
    pub(crate) fn rows(mut self) -> Vec<Row> {
        let mut row = |&(key, question): &(&'static str, &'static str)| {
            let unanswered = || {
                (
                    Verdict::NotApplicable,
                    "there was no daemon to look at".to_owned(),
                )
            };
            let (verdict, evidence) = self.0.remove(key).unwrap_or_else(unanswered);
            Row {
                key,
                question,
                verdict,
                evidence,
            }
        };
        QUESTIONS.iter().map(&mut row).collect()
    }
}

pub(crate) fn count(rows: &[Row], verdict: Verdict) -> usize {
    rows.iter().filter(|row| row.verdict == verdict).count()
}

pub(crate) fn print(rows: &[Row]) {
    for row in rows {
        let verdict = match row.verdict {
            Verdict::Pass => "pass",
            Verdict::Fail => "FAIL",
            Verdict::NotApplicable => "n/a",
        };
        println!(
            "{verdict:<5}{:<6}{}\n           {}",
            row.key, row.question, row.evidence
        );
    }
    let [passed, failed, rest] =
        [Verdict::Pass, Verdict::Fail, Verdict::NotApplicable].map(|v| count(rows, v));
    println!("{passed} pass, {failed} fail, {rest} not applicable");
}

/// The questions, for `--help`.
pub(crate) fn questions() -> String {
    let lines: Vec<_> = QUESTIONS
        .iter()
        .map(|(key, question)| format!("  {key:<6}{question}"))
        .collect();
    lines.join("\n")
}

pub(crate) fn print_json(command: &[String], rows: &[Row]) {
    println!(
        "{}",
        serde_json::json!({ "command": command, "rows": rows })
    );
}
