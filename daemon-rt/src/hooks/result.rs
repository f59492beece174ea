//! How the result of a main loop is shown: an error by its `Display` and that of its sources, as
//! the error of a hook is, where it has one; else by its `Debug`, as the standard library does at
//! the end of `main`.
//!
//! Which of these it is depends on a type that only the program knows. Its attribute calls
//! `show_errors`, and method look-up finds the first of three that fits: of [`Service`], of what
//! that dereferences to, or of what that dereferences to.

use std::error::Error;
use std::ops::{Deref, DerefMut};
use std::process::Termination;

use super::{BoxError, Ended, Exit, Service};

/// Any result.
#[doc(hidden)]
pub struct OfAny<'a, R>(fn(R) -> Ended<'a>);

/// A result whose error is in a box for which there is no `Into`.
#[doc(hidden)]
pub struct OfBox<'a, R>(OfAny<'a, R>);

impl<'a, R: Exit + 'a> OfBox<'a, R> {
    /// Shows it as the standard library does.
    pub(super) fn new() -> Self {
        Self(OfAny(|result| Ended::Reported(Box::new(|| result.exit()))))
    }
}

impl<'a, R> OfBox<'a, R> {
    pub(super) fn function(self) -> fn(R) -> Ended<'a> {
        self.0.0
    }
}

impl<'a, T: Termination + 'a, E: Into<BoxError>> Service<'a, Result<T, E>> {
    /// Has an error of the main loop shown as those of the hooks are: by its `Display` and that of
    /// its sources, in one line, in place of its `Debug`. The attribute does so wherever the error
    /// is a [`std::error::Error`] or a text.
    pub fn show_errors(&mut self) {
        self.end.0.0 = ended;
    }
}

impl<'a, T: Termination + 'a> OfBox<'a, Result<T, Box<dyn Error + Send + Sync>>> {
    #[doc(hidden)]
    pub fn show_errors(&mut self) {
        self.0.0 = |result| ended(result.map_err(|error| -> BoxError { error }));
    }
}

impl<R> OfAny<'_, R> {
    /// Leaves it as it is.
    #[doc(hidden)]
    #[expect(clippy::unused_self, reason = "it is what method look-up finds last")]
    pub fn show_errors(&mut self) {}
}

fn ended<'a, T: Termination + 'a, E: Into<BoxError>>(result: Result<T, E>) -> Ended<'a> {
    match result {
        Ok(value) => Ended::Reported(Box::new(|| value.report())),
        Err(error) => Ended::Failed(error.into()),
    }
}

#[doc(hidden)]
impl<'a, R> Deref for Service<'a, R> {
    type Target = OfBox<'a, R>;

    fn deref(&self) -> &Self::Target {
        &self.end
    }
}

#[doc(hidden)]
impl<R> DerefMut for Service<'_, R> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.end
    }
}

#[doc(hidden)]
impl<'a, R> Deref for OfBox<'a, R> {
    type Target = OfAny<'a, R>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

#[doc(hidden)]
impl<R> DerefMut for OfBox<'_, R> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
