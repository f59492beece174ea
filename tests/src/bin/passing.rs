//! A service in which one task after the other waits for the request to end, and ends before it comes,
//! as those of clients do. One task waits for it all the time. The argument is a setting
//! (`pidfile=/x`). It is ready when the library has let go of the tasks that have ended, three times.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use daemon_rt::{Daemon, daemon, shutdown};
use daemon_tests::set;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Many more than pass while it is found out who still waits.
const TOO_MANY: usize = 20_000;

static KEPT: AtomicUsize = AtomicUsize::new(0);

/// What wakes a task that passes, and is in memory until the library drops it.
struct Passing;

impl Passing {
    fn new() -> Arc<Self> {
        KEPT.fetch_add(1, Ordering::AcqRel);
        Arc::new(Self)
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        KEPT.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Wake for Passing {
    fn wake(self: Arc<Self>) {}
}

#[daemon(configure = configure, init = init)]
fn main(waits: JoinHandle<std::io::Result<()>>) -> Result<()> {
    Ok(waits.join().map_err(|_| "the task that waits panicked")??)
}

fn configure(daemon: &mut Daemon) -> Result<()> {
    for argument in std::env::args().skip(1) {
        let (key, value) = argument.split_once('=').ok_or("no value")?;
        set(daemon, key, value)?;
    }
    Ok(())
}

fn init((): ()) -> Result<JoinHandle<std::io::Result<()>>> {
    let waits = thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(shutdown());
        Ok(())
    });
    for _ in 0..3 {
        pass_until_some_are_dropped()?;
    }
    Ok(waits)
}

fn pass_until_some_are_dropped() -> Result<()> {
    let mut kept = 0;
    while KEPT.load(Ordering::Acquire) >= kept {
        kept = KEPT.load(Ordering::Acquire);
        if kept > TOO_MANY {
            return Err(format!("{kept} tasks that have ended are kept").into());
        }
        let waker = Waker::from(Passing::new());
        let mut request = shutdown();
        let polled = Pin::new(&mut request).poll(&mut Context::from_waker(&waker));
        if polled.is_ready() {
            return Err("the request has come".into());
        }
        thread::sleep(Duration::from_micros(100));
    }
    Ok(())
}
