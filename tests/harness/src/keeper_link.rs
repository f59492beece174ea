//! The test's side of the conversation with its keeper.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::protocol::{Event, Request};
use crate::{PATIENCE, keeper};

/// What the keeper has told so far.
#[derive(Default)]
struct Told {
    answers: HashMap<u64, Result<i32, String>>,
    ended: HashMap<i32, (i32, Instant)>,
    last_request: u64,
    bystanders: Vec<i32>,
    gone: bool,
}

impl Told {
    fn hear(&mut self, event: &Event) {
        match event {
            Event::Done(number, pid) => {
                self.ended.remove(pid); // Of another process, which had this number before.
                self.answers.insert(*number, Ok(*pid));
            }
            Event::Refused(number, text) => _ = self.answers.insert(*number, Err(text.clone())),
            Event::Bystander(pid) => self.bystanders.push(*pid),
            Event::Ended(pid, status) => _ = self.ended.insert(*pid, (*status, Instant::now())),
        }
    }
}

/// A keeper, and what it told.
pub(crate) struct KeeperLink {
    process: Child,
    requests: Mutex<Option<ChildStdin>>,
    told: Arc<(Mutex<Told>, Condvar)>,
}

impl KeeperLink {
    pub(crate) fn new(directory: &Path) -> Self {
        let mut process = keeper::command()
            .arg(directory)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the keeper of a scene");
        let told = Arc::<(Mutex<Told>, Condvar)>::default();
        let requests = Mutex::new(process.stdin.take());
        let events = process.stdout.take().expect("the keeper's stdout");
        thread::spawn({
            let told = told.clone();
            move || listen(events, &told)
        });
        Self {
            process,
            requests,
            told,
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.process.id()).expect("a pid")
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told
            .0
            .lock()
            .expect("no panic while the keeper is heard")
    }

    /// Waits until the keeper has told this, or until the deadline.
    fn wait<T>(
        &self,
        deadline: Instant,
        mut said: impl FnMut(&mut Told) -> Option<T>,
    ) -> Option<T> {
        let mut told = self.told();
        loop {
            if let Some(found) = said(&mut told) {
                return Some(found);
            }
            assert!(!told.gone, "the keeper of the scene ended before its time");
            let left = deadline.checked_duration_since(Instant::now())?;
            told = self
                .told
                .1
                .wait_timeout(told, left)
                .expect("no panic while the keeper is heard")
                .0;
        }
    }

    /// Asks, and waits for the answer. The request is made of its number.
    pub(crate) fn ask(&self, request: impl FnOnce(u64) -> Request) -> Result<i32, String> {
        let number = {
            let mut told = self.told();
            told.last_request += 1;
            told.last_request
        };
        let line = serde_json::to_string(&request(number)).expect("a request") + "\n";
        let mut requests = self.requests.lock().expect("no panic while asking");
        requests
            .as_mut()
            .expect("a living scene")
            .write_all(line.as_bytes())
            .expect("a living keeper");
        drop(requests);
        self.wait(Instant::now() + PATIENCE, |told| {
            told.answers.remove(&number)
        })
        .expect("an answer of the keeper")
    }

    /// Processes of the keeper's that have nothing to do with what it started.
    pub(crate) fn bystanders(&self) -> Vec<i32> {
        self.told().bystanders.clone()
    }

    /// With what raw wait status a child of the keeper ended, and when; `None` if it has not until
    /// the deadline.
    pub(crate) fn ended(&self, pid: i32, deadline: Instant) -> Option<(i32, Instant)> {
        self.wait(deadline, |told| told.ended.get(&pid).copied())
    }
}

fn listen(events: ChildStdout, told: &(Mutex<Told>, Condvar)) {
    let hear = |change: &dyn Fn(&mut Told)| {
        change(&mut told.0.lock().expect("no panic while the keeper is heard"));
        told.1.notify_all();
    };
    for line in BufReader::new(events).lines().map_while(Result::ok) {
        let event = serde_json::from_str(&line).expect("an event");
        hear(&|told| told.hear(&event));
    }
    hear(&|told| told.gone = true);
}

impl KeeperLink {
    /// Ends it, if that is not done: the end of its stdin makes it kill all that is left, and end.
    pub(crate) fn end(&mut self) {
        drop(self.requests.get_mut().map(Option::take));
        let deadline = Instant::now() + PATIENCE;
        while let Ok(None) = self.process.try_wait() {
            if Instant::now() > deadline {
                eprintln!("the keeper {} cannot end its processes", self.process.id());
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for KeeperLink {
    fn drop(&mut self) {
        self.end();
    }
}
