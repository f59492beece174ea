//! A library that starts services. The function `main` in its root is not that of a program.
#![forbid(unsafe_code)]

pub mod framework;

use std::cell::Cell;
use std::error::Error;

use daemon_rt::Daemon;

type Configure = fn(&mut Daemon) -> Result<(), Box<dyn Error>>;

thread_local! {
    static CONFIGURE: Cell<Option<Configure>> = const { Cell::new(None) };
}

/// The service.
#[daemon_rt::daemon(configure = configure)]
pub fn main() {
    daemon_rt::shutdown().wait();
}

/// Gives [`main`] its first hook.
pub fn configure_by(hook: Configure) {
    CONFIGURE.set(Some(hook));
}

fn configure(daemon: &mut Daemon) -> Result<(), Box<dyn Error>> {
    CONFIGURE.get().ok_or("no hook")?(daemon)
}

/// Sets a variable of the environment.
pub fn set_variable(name: &str, value: &str) {
    std::env::set_var(name, value);
}

/// Removes a variable of the environment.
pub fn remove_variable(name: &str) {
    std::env::remove_var(name);
}
