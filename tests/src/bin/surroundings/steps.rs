//! What is done in the surroundings, one after the other, and whether what was said is true.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use daemon_harness::{Proc, Scene, Started};
use nix::libc;

use crate::stage::{Answer, Programs, Stage, kill, own_pid, soon};
use crate::worlds::{How, World};

/// What is done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    FailedStart,
    Start,
    SecondStart,
    Status,
    Reload,
    Restart,
    Stop,
    /// The service is killed, asked for, and started over what it has left.
    Crash,
    /// It is killed while a process that it forked lives on.
    Worker,
    /// Those who have nothing to do with it have lived through all of this.
    Bystanders,
}

pub(crate) const STEPS: [Step; 10] = [
    Step::FailedStart,
    Step::Start,
    Step::SecondStart,
    Step::Status,
    Step::Reload,
    Step::Restart,
    Step::Stop,
    Step::Crash,
    Step::Worker,
    Step::Bystanders,
];

/// What came of a step, where nothing was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Good,
    /// It was said that it cannot be told, and no more was claimed.
    Unknown,
    NotApplicable,
}

/// Why a step does not apply.
pub(crate) fn reason(world: World, step: Step) -> &'static str {
    match step {
        Step::Crash | Step::Worker if world.how == How::PidOne => {
            "the namespace ends with its PID 1"
        }
        _ => "the service does not run",
    }
}

type Judged = Result<Outcome, String>;

/// How long what fails may take.
const PROMPT: Duration = Duration::from_secs(8);

/// All steps in these surroundings.
pub(crate) fn all(world: World, programs: &Programs, number: usize) -> Vec<(Step, Judged)> {
    let scene = Scene::new();
    let mut stage = Stage::new(world, &scene, programs, number);
    if world.how != How::PidOne {
        stage.gather(4);
    }
    let mut steps = STEPS;
    if world.how == How::PidOne {
        // They end with PID 1.
        let last = steps.len() - 1;
        steps.swap(Step::Stop as usize, last);
    }
    let mut results = Vec::new();
    for step in steps {
        let judged = if applies(&stage, step) {
            judge(&mut stage, step)
        } else {
            Ok(Outcome::NotApplicable)
        };
        let good = judged.is_ok();
        results.push((step, judged));
        match step {
            Step::Start if good => stage.gather(4),
            Step::FailedStart | Step::Stop | Step::Crash | Step::Worker => stage.clear(),
            _ => {}
        }
    }
    results
}

/// What is asked of a running service is asked of one that runs.
fn applies(stage: &Stage<'_>, step: Step) -> bool {
    match step {
        Step::FailedStart | Step::Start | Step::Bystanders => true,
        Step::Crash | Step::Worker => stage.world.how != How::PidOne,
        _ => !stage.services().is_empty(),
    }
}

fn judge(stage: &mut Stage<'_>, step: Step) -> Judged {
    match step {
        Step::FailedStart => failed_start(stage),
        Step::Start if stage.world.how == How::PidOne => boot(stage),
        Step::Start => start(stage, ""),
        Step::SecondStart => second_start(stage),
        Step::Status => status(stage),
        Step::Reload => reload(stage),
        Step::Restart => restart(stage),
        Step::Stop => stop(stage),
        Step::Crash => crash(stage),
        Step::Worker => worker(stage),
        Step::Bystanders => stage.harmed().map(|()| Outcome::Good),
    }
}

/// Another status than 0, promptly, and nothing is left.
fn failed_start(stage: &mut Stage<'_>) -> Judged {
    let failed = stage.run("start", "fail")?;
    check(
        failed.status.code() == Some(1) && failed.elapsed < PROMPT,
        "not status 1, promptly",
        stage,
        &failed,
    )?;
    nothing_left(stage).map_err(|problem| format!("{problem}\n{failed:#?}"))?;
    if stage.world.how == How::PidOne {
        return Ok(Outcome::Good);
    }
    let asked = stage.run("status", "")?;
    check(
        asked.status.code() == Some(3),
        "`status` is not 3 after a failed start",
        stage,
        &asked,
    )?;
    Ok(Outcome::Good)
}

/// Nobody, no lock, no claim, no control socket, at this very moment.
fn nothing_left(stage: &Stage<'_>) -> Result<(), String> {
    let services = stage.services();
    if !services.is_empty() {
        return Err(format!(
            "{} processes are left:\n{}",
            services.len(),
            stage.shown()
        ));
    }
    if stage.is_locked() {
        return Err("the lock is held".to_owned());
    }
    if stage.world.how == How::PidOne && stage.world.drops() {
        // In the foreground, a service that has given up its privileges cannot remove its files.
        return Ok(());
    }
    if let Some(pid) = stage.pid_in_pidfile() {
        return Err(format!("the pidfile names {pid}"));
    }
    let socket = stage.pidfile().with_extension("pid.control");
    if fs::symlink_metadata(&socket).is_ok() {
        return Err("the control socket is left".to_owned());
    }
    Ok(())
}

/// Status 0, and at this very moment it is ready.
fn start(stage: &mut Stage<'_>, settings: &str) -> Judged {
    let started = stage.run("start", settings)?;
    check(
        started.status.success() && started.pipes_closed,
        "it does not start",
        stage,
        &started,
    )?;
    one_service(stage, 1).map_err(|problem| format!("{problem}\n{started:#?}"))?;
    Ok(Outcome::Good)
}

/// So many processes, one of which answers, is named by the pidfile, and holds the lock.
fn one_service(stage: &Stage<'_>, count: usize) -> Result<(Proc, Answer), String> {
    let mut services = stage.services();
    if services.len() != count {
        return Err(format!(
            "{} processes of the service, not {count}:\n{}",
            services.len(),
            stage.shown()
        ));
    }
    let answer = stage.answer()?;
    let named = stage.pid_in_pidfile();
    if named != Some(answer.pid) {
        return Err(format!(
            "the pidfile names {named:?}, and {} answers",
            answer.pid
        ));
    }
    if !stage.is_locked() {
        return Err("the lock is free".to_owned());
    }
    let place = services
        .iter()
        .position(|process| own_pid(process) == Some(answer.pid));
    let place = place.ok_or_else(|| {
        format!(
            "none of its processes is {}:\n{}",
            answer.pid,
            stage.shown()
        )
    })?;
    Ok((services.swap_remove(place), answer))
}

/// How many processes a service consists of.
fn size(stage: &Stage<'_>) -> usize {
    if stage.world.how == How::PidOne { 2 } else { 1 }
}

fn boot(stage: &mut Stage<'_>) -> Judged {
    stage.boot("")?;
    soon(|| one_service(stage, 2))?;
    Ok(Outcome::Good)
}

/// "Already running", and the first goes on.
fn second_start(stage: &mut Stage<'_>) -> Judged {
    let (_, before) = one_service(stage, size(stage))?;
    let refused = stage.run("start", "")?;
    check(
        refused.status.code() == Some(80),
        "not status 80",
        stage,
        &refused,
    )?;
    same(stage, before).map_err(|problem| format!("{problem}\n{refused:#?}"))?;
    Ok(Outcome::Good)
}

/// The same service as before, alone.
fn same(stage: &Stage<'_>, before: Answer) -> Result<(), String> {
    let (_, now) = one_service(stage, size(stage))?;
    if now == before {
        Ok(())
    } else {
        Err(format!("{before:?} before, {now:?} now"))
    }
}

/// It runs, or that cannot be told.
fn status(stage: &mut Stage<'_>) -> Judged {
    let (_, running) = one_service(stage, size(stage))?;
    let asked = stage.run("status --json", "")?;
    match asked.status.code() {
        Some(4) => Ok(Outcome::Unknown),
        Some(0) => {
            let told: Option<serde_json::Value> = serde_json::from_str(&asked.stdout).ok();
            let pid = told.and_then(|told| told["pid"].as_i64());
            check(
                pid == Some(running.pid.into()),
                "it names another",
                stage,
                &asked,
            )?;
            Ok(Outcome::Good)
        }
        _ => Err(problem("a false status", stage, &asked)),
    }
}

/// It has reloaded, if that is what is said.
fn reload(stage: &mut Stage<'_>) -> Judged {
    let (_, before) = one_service(stage, size(stage))?;
    let asked = stage.run("reload", "")?;
    check(asked.status.success(), "it does not reload", stage, &asked)?;
    let expected = Answer {
        reloads: before.reloads + 1,
        ..before
    };
    // The handler counts when it has got hold of the request.
    soon(|| same(stage, expected)).map_err(|problem| format!("{problem}\n{asked:#?}"))?;
    Ok(Outcome::Good)
}

/// Another instance, or the same if it is said that nothing has come of it.
fn restart(stage: &mut Stage<'_>) -> Judged {
    let (_, before) = one_service(stage, size(stage))?;
    let asked = stage.run("restart", "")?;
    let judged = if stage.world.how == How::PidOne {
        // Whoever is PID 1 cannot be replaced.
        check(
            !asked.status.success() && asked.status.signal().is_none(),
            "it is not refused",
            stage,
            &asked,
        )?;
        same(stage, before)
    } else {
        check(asked.status.success(), "it does not restart", stage, &asked)?;
        // The old one has been told to end.
        soon(|| {
            let (_, now) = one_service(stage, 1)?;
            if now.pid == before.pid {
                Err("it is the old one".to_owned())
            } else {
                Ok(())
            }
        })
    };
    judged.map_err(|problem| format!("{problem}\n{asked:#?}"))?;
    Ok(Outcome::Good)
}

/// With status 0 nobody lives at this very moment.
fn stop(stage: &mut Stage<'_>) -> Judged {
    let stopped = stage.run("stop", "")?;
    if stage.world.how == How::PidOne {
        // The command is killed with the namespace, if it has not ended before.
        let ended = stopped.status.success() || stopped.status.signal() == Some(libc::SIGKILL);
        check(ended, "it does not stop", stage, &stopped)?;
        check(
            !stopped.status.success() || stage.services().len() < 2,
            "it lives on",
            stage,
            &stopped,
        )?;
        let first = stage.wait_end()?;
        check(
            first.status.success(),
            "PID 1 did not end well",
            stage,
            &first,
        )?;
        nothing_left(stage)?;
        return Ok(Outcome::Good);
    }
    check(
        stopped.status.success(),
        "it does not stop",
        stage,
        &stopped,
    )?;
    check(
        stage.services().is_empty() && !stage.is_locked(),
        "it lives on",
        stage,
        &stopped,
    )?;
    let asked = stage.run("status", "")?;
    check(
        asked.status.code() == Some(3),
        "`status` is not 3 after an orderly end",
        stage,
        &asked,
    )?;
    let again = stage.run("stop", "")?;
    check(
        again.status.success(),
        "stopping it once more is an error",
        stage,
        &again,
    )?;
    Ok(Outcome::Good)
}

fn crash(stage: &mut Stage<'_>) -> Judged {
    start(stage, "")?;
    let (process, _) = one_service(stage, 1)?;
    kill(&[process]);
    let asked = stage.run("status", "")?;
    // What a service without privileges leaves it leaves after an orderly end, too: then it does
    // not run (3).
    let expected = if stage.world.drops() { 3 } else { 1 };
    check(
        asked.status.code() == Some(expected),
        "a false `status` after a crash",
        stage,
        &asked,
    )?;
    start(stage, "")?;
    let stopped = stage.run("stop", "")?;
    check(
        stopped.status.success() && stage.services().is_empty(),
        "it does not stop",
        stage,
        &stopped,
    )?;
    Ok(Outcome::Good)
}

/// While a process of it lives nobody says that it does not run, and no other is started.
fn worker(stage: &mut Stage<'_>) -> Judged {
    let started = stage.run("start", "worker")?;
    check(
        started.status.success(),
        "it does not start",
        stage,
        &started,
    )?;
    let (process, _) = one_service(stage, 2)?;
    kill(&[process]);
    let worker = stage.services();
    let judged = orphaned(stage);
    kill(&worker);
    judged
}

fn orphaned(stage: &mut Stage<'_>) -> Judged {
    let asked = stage.run("status", "")?;
    check(
        matches!(asked.status.code(), Some(0 | 4)),
        "a false status",
        stage,
        &asked,
    )?;
    let refused = stage.run("start", "")?;
    check(
        refused.status.code() == Some(80),
        "not status 80",
        stage,
        &refused,
    )?;
    check(
        stage.services().len() == 1,
        "not one process",
        stage,
        &refused,
    )?;
    let stopped = stage.run("stop --timeout 1s", "")?;
    let lives = !stage.services().is_empty();
    check(
        !(stopped.status.success() && lives),
        "`stop` says 0 while a process lives",
        stage,
        &stopped,
    )?;
    Ok(Outcome::Good)
}

fn check(holds: bool, what: &str, stage: &Stage<'_>, of: &Started) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(problem(what, stage, of))
    }
}

fn problem(what: &str, stage: &Stage<'_>, of: &Started) -> String {
    format!(
        "{what}: {}, after {:?}, saying {:?} {:?}\n{}",
        of.status,
        of.elapsed,
        of.stdout,
        of.stderr,
        stage.shown()
    )
}
