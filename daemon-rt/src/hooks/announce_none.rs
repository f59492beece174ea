//! Readiness is noted, and told to no one.

use crate::error::Error;
use crate::report;

/// The service is ready.
#[expect(clippy::unnecessary_wraps, reason = "on Unix it can fail")]
pub(crate) fn announce() -> Result<(), Error> {
    report::ready();
    Ok(())
}
