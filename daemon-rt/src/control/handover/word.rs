//! Requests and answers over the control socket.

pub(super) const RELOAD: &[u8] = b"reload";
pub(super) const RELOADED: &[u8] = b"reloaded";
/// Followed by the reason.
pub(super) const FAILED: &[u8] = b"failed: ";
/// The service handles SIGHUP itself.
pub(super) const SIGNAL: &[u8] = b"signal";
pub(super) const CANNOT: &[u8] = b"cannot";
/// Asks for the version and the last status, with a NUL between them.
pub(super) const DESCRIBE: &[u8] = b"describe";
pub(super) const HAND_OVER: &[u8] = b"hand over the sockets";
/// The same for an upgrade: this instance lives on.
pub(super) const HAND_OVER_AND_LIVE: &[u8] = b"hand over the pidfile";
/// Asks for the next sockets.
pub(super) const MORE: &[u8] = b"more";
pub(super) const COMMIT: &[u8] = b"commit";
/// A commit, too, but the restarter has to end before the old instance.
pub(super) const COMMIT_AFTER_ME: &[u8] = b"commit after me";
