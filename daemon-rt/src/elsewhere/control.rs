//! Control of a service from outside, which a system that is not Unix does not offer.

#[path = "../control/status.rs"]
mod status;

use std::path::PathBuf;
use std::time::Duration;

pub use self::status::{Reloaded, Status, Stopped};
use crate::error::{Error, not_available};

/// Controls a service by its pidfile. On a system that is not Unix each call fails.
#[derive(Clone, Debug)]
pub struct Control(());

impl Control {
    /// Controls the service that has this pidfile.
    pub fn new(_: impl Into<PathBuf>) -> Self {
        Self(())
    }

    /// The state of the service, which cannot be told.
    ///
    /// # Errors
    /// None.
    pub fn status(&self) -> Result<Status, Error> {
        Ok(Status::Unknown(not_available().to_string()))
    }

    /// The older instances.
    ///
    /// # Errors
    /// Always.
    pub fn old_instances(&self) -> Result<Vec<u32>, Error> {
        Err(Error::unavailable("look the service up"))
    }

    /// Ends the service.
    ///
    /// # Errors
    /// Always.
    pub fn stop(&self, _: Duration) -> Result<Stopped, Error> {
        Err(Error::unavailable("stop"))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// Always.
    pub fn signal(&self, _: i32) -> Result<(), Error> {
        Err(Error::unavailable("send a signal"))
    }

    /// Has the service reload.
    ///
    /// # Errors
    /// Always.
    pub fn reload(&self, _: Duration) -> Result<Reloaded, Error> {
        Err(Error::unavailable("reload"))
    }
}
