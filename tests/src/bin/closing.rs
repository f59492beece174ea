//! A service that closes every descriptor from 3 on in its main loop, whoever owns it, and opens
//! files of its own, which get these numbers. Its arguments are settings (`pidfile=/x`), and:
//!
//! - `own=DIR`: where its files are. When it ends, `DIR/read` is made of what it has put into pipes
//!   of its own.
//! - `opens=files`, `pipes` or `nothing`; `ends`, which are all the writing end of one pipe; with
//!   these it runs on one CPU, and has them before a thread runs that waits
//! - `waits=thread`, `limit` or `task`: how it waits for SIGTERM; one thread does so before it
//!   closes, and another after it
//! - `limits=`: it may open no more descriptors, and poll none, see poll(2)
//!
//! Each SIGHUP adds a byte to the file `DIR/reloads`: one by the task or the thread that takes
//! reloads.

use std::error::Error;
use std::fs::{self, File};
use std::future::Future;
use std::io::{self, Read, Write};
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use daemon_harness::rough;
use daemon_rt::{daemon, reloads, shutdown};
use daemon_tests::Settings;
use nix::fcntl::OFlag;
use nix::sys::resource::{Resource, setrlimit};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::nice;
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const LONG: Duration = Duration::from_secs(1000);

#[daemon(configure = Settings::of_arguments, init = init, umask = 0o022)]
fn main((settings, waiting): (Settings, JoinHandle<()>)) -> Result<()> {
    let (own, waits) = (
        settings.get("own").ok_or("no place")?,
        settings.get("waits").ok_or("no way to wait")?.to_owned(),
    );
    let mut ends = Vec::new();
    if settings.get("opens") == Some("ends") {
        ends.extend(replace_by_ends()?);
    } else {
        rough::close_range(3, RawFd::MAX)?;
    }
    let mut pipes = Vec::new();
    let mut files = Vec::new();
    for number in 0..32 {
        match settings.get("opens") {
            Some("files") => files.push(File::create_new(format!("{own}/file{number}"))?),
            Some("pipes") => {
                let (read, write) = nix::unistd::pipe2(OFlag::O_NONBLOCK)?;
                let mut write = File::from(write);
                write.write_all(b"data")?;
                pipes.push((File::from(read), write));
            }
            _ => {}
        }
    }
    if settings.get("limits").is_some() {
        setrlimit(Resource::RLIMIT_NOFILE, 0, 0)?;
    }
    // A name that it has already: no descriptor is needed.
    fs::rename(format!("{own}/starts"), format!("{own}/up"))?;
    wait(&waits);
    waiting.join().map_err(|_| "a thread that waits")?;
    if settings.get("limits").is_none() {
        let mut read = Vec::new();
        for (pipe, _) in &mut pipes {
            match pipe.read_to_end(&mut read) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.into()),
                _ => {}
            }
        }
        fs::write(format!("{own}/read"), read)?;
    }
    Ok(())
}

fn init(settings: Settings) -> Result<(Settings, JoinHandle<()>)> {
    let ends = settings.get("opens") == Some("ends");
    if ends {
        let mut one = CpuSet::new();
        one.set(sched_getcpu());
        sched_setaffinity(None, &one)?;
    }
    // Those that wait are threads that the main thread need not make way for when they are woken.
    let increment = if ends { 19 } else { 0 };
    let own = Path::new(settings.get("own").ok_or("no place")?);
    fs::write(own.join("starts"), "")?;
    let waits = settings.get("waits").unwrap_or_default().to_owned();
    _ = shutdown();
    let waiting = thread::spawn(move || {
        _ = nice(increment);
        wait(&waits);
    });
    let mut requests = reloads();
    let (count, in_task) = (own.join("reloads"), settings.get("waits") == Some("task"));
    thread::spawn(move || {
        _ = nice(increment);
        let mut reloaded = 0;
        loop {
            let reload = if in_task {
                block_on(requests.next())
            } else {
                Some(requests.wait())
            };
            reloaded += 1;
            _ = fs::write(&count, vec![b'.'; reloaded]);
            drop(reload);
        }
    });
    Ok((settings, waiting))
}

/// Closes every descriptor that another thread waits for, and gets their numbers before it runs.
fn replace_by_ends() -> Result<Vec<OwnedFd>> {
    const ABOVE: RawFd = 100;
    let (read, write) = nix::unistd::pipe()?;
    let mut ends = vec![
        fcntl_dupfd_cloexec(&read, ABOVE)?,
        fcntl_dupfd_cloexec(&write, ABOVE)?,
    ];
    // Closed with the others.
    _ = (read.into_raw_fd(), write.into_raw_fd());
    while !others_sleep()? {
        thread::yield_now();
    }
    rough::close_range(3, ABOVE - 1)?;
    for _ in 3..ABOVE {
        ends.push(ends[1].try_clone()?);
    }
    Ok(ends)
}

fn others_sleep() -> Result<bool> {
    let mut awake = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let stat = fs::read_to_string(task?.path().join("stat"))?;
        if !stat.contains(") S ") {
            awake += 1;
        }
    }
    Ok(awake == 1)
}

fn wait(how: &str) {
    match how {
        "task" => block_on(shutdown()),
        "limit" => assert!(shutdown().wait_timeout(LONG)),
        _ => shutdown().wait(),
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Without a runtime, whose descriptors would be closed as well.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Arc::new(Unpark(thread::current())).into();
    let (mut context, mut future) = (Context::from_waker(&waker), pin!(future));
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => thread::park(),
        }
    }
}
