//! What the service finishes after the request to terminate.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use super::shutdown::{self, Shutdown};
use super::tasks::Tasks;
use crate::daemon::DRAIN_TIMEOUT;
use crate::report::log;

static LIMIT: OnceLock<Duration> = OnceLock::new();
static WORK: Mutex<Work> = Mutex::new(Work {
    holds: 0,
    is_over: false,
    tasks: Tasks::new(),
});
static FINISHED: Condvar = Condvar::new();

struct Work {
    holds: usize,
    /// The time is over.
    is_over: bool,
    /// They wait for its end.
    tasks: Tasks,
}

fn work() -> MutexGuard<'static, Work> {
    WORK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes all who wait. A task that is dropped by that drops what it holds.
fn wake_all(mut work: MutexGuard<'_, Work>) {
    FINISHED.notify_all();
    let tasks = work.tasks.take();
    drop(work);
    tasks.wake();
}

/// Sets the limit.
pub(crate) fn set_limit(limit: Duration) {
    LIMIT.get_or_init(|| limit);
}

/// Work that the service finishes before it ends, see [`Shutdown::hold`].
#[derive(Debug)]
#[must_use = "the end is held up for as long as this value lives"]
pub struct Hold(());

impl Drop for Hold {
    fn drop(&mut self) {
        let mut work = work();
        work.holds -= 1;
        if work.holds == 0 {
            wake_all(work);
        }
    }
}

/// The end of the service's work, see [`Shutdown::drained`].
#[derive(Debug)]
#[must_use = "it does not wait by itself: use `wait()` or `.await`"]
pub struct Drained(&'static Shutdown);

impl Shutdown {
    /// Holds the end of the service up while the value lives: for a connection, a request, a job. Who
    /// waits for [`drained`](Self::drained) waits for it.
    ///
    /// ```
    /// use daemon_rt::shutdown;
    ///
    /// std::thread::spawn(|| {
    ///     let _hold = shutdown().hold();
    ///     // … a job that must not be cut short
    /// });
    /// ```
    pub fn hold(&self) -> Hold {
        work().holds += 1;
        Hold(())
    }

    /// Waits, by `wait()` or `.await`, until termination is requested and then until no
    /// [`hold`](Self::hold) is left, but at most for `drain_timeout`, 5 seconds if not set. That time
    /// runs from when any part of the service first sees the request. A line in the log says what is left
    /// when it is over.
    ///
    /// So a service ends in phases: from the request on it takes no new work, it finishes what it has,
    /// and tells clients who would go on asking to come back on another connection (in HTTP
    /// `Connection: close`); then it ends. In a restart the new instance has the sockets already, and
    /// no request is lost. The examples `webapp` and `frameworks` do it for axum and others.
    ///
    /// A service that goes on accepting while it ends, as by [`TcpListener::incoming`] in a thread, loses
    /// the connection that it accepts last.
    ///
    /// ```no_run
    /// use std::net::{TcpListener, TcpStream};
    /// use std::os::fd::AsFd;
    /// use std::thread;
    ///
    /// use daemon_rt::{daemon, listen, shutdown};
    /// use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    ///
    /// #[daemon(pidfile = "/run/greeter.pid", drain_timeout = "8s", init = bind)]
    /// fn main(listener: TcpListener) {
    ///     let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
    ///     while !shutdown().requested() {
    ///         let mut either = [readable(listener.as_fd()), readable(shutdown().as_fd())];
    ///         _ = poll(&mut either, PollTimeout::NONE); // a signal interrupts it
    ///         if let Ok((peer, _)) = listener.accept() {
    ///             let held = shutdown().hold();
    ///             thread::spawn(move || {
    ///                 answer(peer);
    ///                 drop(held);
    ///             });
    ///         }
    ///     }
    ///     drop(listener);
    ///     shutdown().drained().wait();
    /// }
    ///
    /// fn bind() -> Result<TcpListener, Box<dyn std::error::Error>> {
    ///     let listener: TcpListener = listen("greeter", "127.0.0.1:7007")?;
    ///     listener.set_nonblocking(true)?; // the other instance may take what poll(2) has seen
    ///     Ok(listener)
    /// }
    /// # fn answer(_: TcpStream) {}
    /// ```
    ///
    /// [`TcpListener::incoming`]: std::net::TcpListener::incoming
    pub fn drained(&'static self) -> Drained {
        Drained(self)
    }
}

impl Drained {
    /// Waits in this thread.
    pub fn wait(self) {
        self.0.wait();
        finish();
    }
}

/// Complete when the work is finished, or the time is over. Works in every runtime.
impl Future for Drained {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if Pin::new(&mut self.0).poll(context).is_pending() {
            return Poll::Pending;
        }
        let mut work = work();
        if work.holds == 0 || work.is_over {
            return Poll::Ready(());
        }
        let forgotten = work.tasks.add(context.waker());
        drop(work);
        forgotten.wake();
        watch();
        Poll::Pending
    }
}

/// Has a thread wait for the tasks. Where there can be none, the time is over.
fn watch() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let name = thread::Builder::new().name("drain".to_owned());
        if name.spawn(finish).is_err() {
            end();
        }
    });
}

/// Waits until the work is finished, or the time is over.
fn finish() {
    let limit = *LIMIT.get_or_init(|| DRAIN_TIMEOUT);
    let left = limit.saturating_sub(shutdown::seen().elapsed());
    let waited = FINISHED.wait_timeout_while(work(), left, |work| work.holds > 0);
    let (work, _) = waited.unwrap_or_else(PoisonError::into_inner);
    let (holds, said) = (work.holds, work.is_over);
    drop(work);
    if holds > 0 && !said {
        say(limit, holds);
    }
    end();
}

/// Says that work is cut, once, whoever else waits.
fn say(limit: Duration, holds: usize) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        log::error(&format!(
            "it did not finish its work within {limit:?} (drain_timeout); holds left: {holds}"
        ));
    });
}

fn end() {
    let mut work = work();
    work.is_over = true;
    wake_all(work);
}
