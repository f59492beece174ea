//! Control of a service from outside, which a system that is not Unix does not offer.

#[path = "../control/start_error.rs"]
mod start_error;
#[path = "../control/status.rs"]
mod status;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

pub use self::start_error::StartError;
pub use self::status::{Reloaded, Status, Stopped};
use crate::error::{Error, not_available};
pub use crate::started::Started;

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

    /// Starts the service.
    ///
    /// # Errors
    /// Always.
    pub fn launch(&self, _: &mut Command, _: Duration) -> Result<Started, StartError> {
        Err(StartError::system("cannot launch", not_available()))
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
