//! A pidfile without a daemon, which a system that is not Unix does not offer.

use std::convert::Infallible;
use std::path::Path;

use crate::error::Error;

/// A pidfile without a daemon. On a system that is not Unix it cannot be locked.
#[derive(Debug)]
pub struct Pidfile(Infallible);

impl Pidfile {
    /// Locks the file.
    ///
    /// # Errors
    /// Always.
    pub fn lock(_: impl AsRef<Path>) -> Result<Self, Error> {
        Err(Error::unavailable("write the pidfile"))
    }

    /// The path.
    pub fn path(&self) -> &Path {
        match self.0 {}
    }
}
