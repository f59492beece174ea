//! Threads beside those of the service.

use std::io;

use nix::sys::signal::SigSet;

/// Runs this in a thread that takes none of the service's signals.
pub(super) fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let without_signals = || {
        _ = SigSet::all().thread_block();
        work();
    };
    let builder = std::thread::Builder::new().name("control".to_owned());
    builder.spawn(without_signals).map(drop)
}
