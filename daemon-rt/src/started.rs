//! The instance that runs after a start.

/// The instance that runs after a start: the hook [`started`](crate::hooks::Service::started) is told,
/// and whoever calls `Control::launch`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Started {
    /// Its main process.
    pub pid: u32,
    /// It was running, or starting, already. Then no hook `started` runs.
    pub already_running: bool,
}
