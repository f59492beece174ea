//! What may be a hook or a main loop. Each trait has a text for people who give something else, and
//! the compiler is kept from saying what it would say in its place.

use std::error::Error;
use std::process::{ExitCode, Termination};

use super::ready::Ready;
use crate::daemon::Daemon;
use crate::started::Started;

/// What a failed hook leaves.
pub(crate) type BoxError = Box<dyn Error>;

/// A function that takes `In` and returns a `Result<Out, E>`.
///
/// Type parameters rather than associated types, which the compiler would report twice where they
/// do not match.
#[diagnostic::on_unimplemented(
    message = "a hook takes what the previous hook returns, here `{In}`",
    label = "not a function that takes `{In}` and returns a `Result`",
    note = "if that is `()`, or if there is no previous hook, it takes no parameter"
)]
pub trait Hook<In, Out, How> {
    /// Runs the hook.
    ///
    /// # Errors
    ///
    /// The hook's own.
    fn run(self, input: In) -> Result<Out, BoxError>;
}

impl<F, In, Out, R, Shape, Kind> Hook<In, Out, (R, Shape, Kind)> for F
where
    F: Takes<In, R, Shape>,
    R: Outcome<Out, Kind>,
{
    fn run(self, input: In) -> Result<Out, BoxError> {
        self.call(input).boxed()
    }
}

/// A function that takes `&mut Daemon` and returns a `Result<Out, E>`.
#[diagnostic::on_unimplemented(
    message = "the `configure` hook takes `&mut Daemon`",
    label = "not a function that takes `&mut Daemon` and returns a `Result`"
)]
pub trait ConfigureHook<Out, How> {
    /// Runs the hook.
    ///
    /// # Errors
    ///
    /// The hook's own.
    fn run(self, daemon: &mut Daemon) -> Result<Out, BoxError>;
}

impl<F, Out, How> ConfigureHook<Out, How> for F
where
    F: for<'d> Hook<&'d mut Daemon, Out, How>,
{
    fn run(self, daemon: &mut Daemon) -> Result<Out, BoxError> {
        Hook::run(self, daemon)
    }
}

/// A function of one value, or of none where that value is `()`.
pub trait Takes<In, R, Shape> {
    /// Calls it.
    fn call(self, input: In) -> R;
}

#[diagnostic::do_not_recommend]
impl<F: FnOnce() -> R, R> Takes<(), R, shape::Nothing> for F {
    fn call(self, (): ()) -> R {
        self()
    }
}

#[diagnostic::do_not_recommend]
impl<F: FnOnce(In) -> R, In, R> Takes<In, R, shape::Value> for F {
    fn call(self, input: In) -> R {
        self(input)
    }
}

impl<F: Never, In, R> Takes<In, R, shape::Never> for F {
    fn call(self, _: In) -> R {
        unreachable!()
    }
}

/// Implemented by nothing, and nothing can implement it. Where a trait has but one implementation
/// that may apply, the compiler complains of what that one lacks (`FnOnce`), in place of the trait,
/// which has the text for people; so there is always a second one.
pub trait Never: sealed::Sealed {}

mod sealed {
    /// Out of reach for other crates.
    pub trait Sealed {}
}

/// What a hook returns: a `Result` whose error can be shown.
#[diagnostic::on_unimplemented(
    message = "a hook must return a `Result`, not `{Self}`",
    label = "this hook returns `{Self}`",
    note = "if it cannot fail, return `Ok(…)` as a `Result<_, std::convert::Infallible>`",
    note = "it cannot be `async`, because no runtime is running yet: await in `main`, and add `defer_ready` if the service is ready only after that"
)]
pub trait Outcome<T, Kind> {
    /// The same with the error boxed.
    ///
    /// # Errors
    ///
    /// The hook's own.
    fn boxed(self) -> Result<T, BoxError>;
}

impl<T, E: HookError<Kind>, Kind> Outcome<T, Kind> for Result<T, E> {
    fn boxed(self) -> Result<T, BoxError> {
        self.map_err(HookError::boxed)
    }
}

/// An error that a hook may return.
#[diagnostic::on_unimplemented(
    message = "a hook cannot return the error type `{Self}`",
    label = "the error of this hook cannot be printed",
    note = "use any `std::error::Error`, `Box<dyn Error>`, `Box<dyn Error + Send + Sync>`, \
            `anyhow::Error`, `String` or `&'static str`"
)]
pub trait HookError<Kind> {
    /// The error, boxed.
    fn boxed(self) -> BoxError;
}

#[diagnostic::do_not_recommend]
impl<E: Into<BoxError>> HookError<kind::Plain> for E {
    fn boxed(self) -> BoxError {
        self.into()
    }
}

#[diagnostic::do_not_recommend]
impl HookError<kind::SendSync> for Box<dyn Error + Send + Sync> {
    fn boxed(self) -> BoxError {
        self
    }
}

/// A main loop: a function that takes what the last hook returned.
#[diagnostic::on_unimplemented(
    message = "the main loop takes what the last hook returns, here `{In}`",
    label = "not a function that takes `{In}`",
    note = "if that is `()`, or if there is no hook, it takes no parameter; to take a `Ready`, add `defer_ready`"
)]
pub trait Main<In, R, Shape> {
    /// Calls it.
    fn call(self, input: In) -> R;
}

#[diagnostic::do_not_recommend]
impl<F: Takes<In, R, Shape>, In, R, Shape> Main<In, R, Shape> for F {
    fn call(self, input: In) -> R {
        Takes::call(self, input)
    }
}

/// A main loop that takes what the last hook returned, then [`Ready`].
#[diagnostic::on_unimplemented(
    message = "with `defer_ready` the main loop takes what the last hook returns, here `{In}`, and a `Ready`",
    label = "not a function that takes `{In}` and `Ready`",
    note = "if the last hook returns `()`, or if there is no hook, it takes only the `Ready`"
)]
pub trait MainWithReady<In, R, Shape> {
    /// Calls it.
    fn call(self, input: In, ready: Ready) -> R;
}

#[diagnostic::do_not_recommend]
impl<F: FnOnce(Ready) -> R, R> MainWithReady<(), R, shape::Nothing> for F {
    fn call(self, (): (), ready: Ready) -> R {
        self(ready)
    }
}

#[diagnostic::do_not_recommend]
impl<F: FnOnce(In, Ready) -> R, In, R> MainWithReady<In, R, shape::Value> for F {
    fn call(self, input: In, ready: Ready) -> R {
        self(input, ready)
    }
}

impl<F: Never, In, R> MainWithReady<In, R, shape::Never> for F {
    fn call(self, _: In, _: Ready) -> R {
        unreachable!()
    }
}

/// A function that takes `&Started`.
#[diagnostic::on_unimplemented(
    message = "the `started` hook takes `&Started` and returns nothing",
    label = "not a function that takes `&Started` and returns `()`",
    note = "it cannot fail, because the service is ready: print what is wrong",
    note = "it cannot be `async`, because no runtime is running in this process"
)]
pub trait StartedHook<Shape> {
    /// Calls it.
    fn call(self, started: &Started);
}

#[diagnostic::do_not_recommend]
impl<F: FnOnce(&Started)> StartedHook<shape::Value> for F {
    fn call(self, started: &Started) {
        self(started);
    }
}

impl<F: Never> StartedHook<shape::Never> for F {
    fn call(self, _: &Started) {
        unreachable!()
    }
}

/// What a main loop may return: whatever `fn main` may.
#[diagnostic::on_unimplemented(
    message = "the main loop cannot return `{Self}`",
    label = "not a `std::process::Termination`",
    note = "return what `fn main` can return: `()`, `!`, `ExitCode`, or a `Result` of one of them whose error implements `Debug`"
)]
pub trait Exit {
    /// Reports the result as the standard library does, and gives the exit code.
    fn exit(self) -> ExitCode;
}

#[diagnostic::do_not_recommend]
impl<T: Termination> Exit for T {
    fn exit(self) -> ExitCode {
        self.report()
    }
}

/// Which way of taking its value a function has.
pub mod shape {
    /// It takes nothing, for the value is `()`.
    pub enum Nothing {}
    /// It takes the value.
    pub enum Value {}
    /// It is no function.
    pub enum Never {}
}

/// Which way into a box an error has.
pub mod kind {
    /// `Into`.
    pub enum Plain {}
    /// It is in a box already, of a type for which there is no `Into`.
    pub enum SendSync {}
}
