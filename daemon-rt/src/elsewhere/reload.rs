//! The request to reload, which is never made.

use std::error::Error;
use std::future;
use std::thread;

/// The requests to reload, see [`reloads`].
#[derive(Debug)]
#[must_use = "a request waits until it is taken: use `for`, `wait`, `next` or `stream`"]
pub struct Reloads(());

/// [`Reloads`] as a `futures_core::Stream`, see [`Reloads::stream`].
#[cfg(feature = "stream")]
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct ReloadStream(());

/// A request to reload. There is none on a system that is not Unix.
#[derive(Debug)]
#[must_use = "dropping it reports that the service has reloaded"]
pub struct Reload(());

/// The requests to reload. On a system that is not Unix none is made: whoever waits for one waits for
/// ever.
pub fn reloads() -> Reloads {
    Reloads(())
}

impl Reloads {
    /// Waits for ever, and blocks this thread.
    pub fn wait(&mut self) -> Reload {
        loop {
            thread::park();
        }
    }

    /// Waits for ever, in a task of any asynchronous runtime.
    pub async fn next(&mut self) -> Option<Reload> {
        future::pending().await
    }

    /// The requests as a `futures_core::Stream`, in which none comes.
    #[cfg(feature = "stream")]
    pub fn stream(self) -> ReloadStream {
        ReloadStream(())
    }
}

/// Waits for ever.
impl Iterator for Reloads {
    type Item = Reload;

    fn next(&mut self) -> Option<Reload> {
        Some(self.wait())
    }
}

#[cfg(feature = "stream")]
impl futures_core::Stream for ReloadStream {
    type Item = Reload;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Reload>> {
        std::task::Poll::Pending
    }
}

impl Reload {
    /// Reports that the service could not reload.
    pub fn failed(self, _: impl Into<Box<dyn Error + Send + Sync>>) {}
}
