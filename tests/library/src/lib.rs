//! A library that starts services. The function `main` in its root is not that of a program.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::io;

use daemon_rt::Daemon;

thread_local! {
    static CONFIGURE: Cell<Option<fn(&mut Daemon)>> = const { Cell::new(None) };
}

/// The service, with the settings that `set` makes.
#[daemon_rt::daemon(configure = configure)]
pub fn main() {
    daemon_rt::shutdown().wait();
}

/// Gives [`main`] its settings.
pub fn set(settings: fn(&mut Daemon)) {
    CONFIGURE.set(Some(settings));
}

fn configure(daemon: &mut Daemon) -> io::Result<()> {
    if let Some(set) = CONFIGURE.get() {
        set(daemon);
    }
    Ok(())
}

/// Sets a variable of the environment.
pub fn set_variable(name: &str, value: &str) {
    std::env::set_var(name, value);
}

/// Removes a variable of the environment.
pub fn remove_variable(name: &str) {
    std::env::remove_var(name);
}
