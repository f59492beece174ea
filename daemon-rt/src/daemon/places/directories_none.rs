//! Where the system is not Unix there are no usual places.

use std::io;
use std::path::PathBuf;

use crate::error::not_available;

pub(super) fn runtime(_: &str) -> io::Result<PathBuf> {
    Err(not_available())
}

pub(super) fn own(_: &str) -> io::Result<PathBuf> {
    Err(not_available())
}

pub(super) fn logs(_: &str) -> io::Result<PathBuf> {
    Err(not_available())
}

pub(super) fn state(_: &str) -> io::Result<PathBuf> {
    Err(not_available())
}
