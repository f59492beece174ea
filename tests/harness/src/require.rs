//! Tests that need root or a tool say so, and a test that was skipped is seen.
//!
//! A skipped test prints `SKIPPED: test: reason`, past libtest's capture, and appends the same line
//! to the file that `DAEMON_TESTS_SKIPPED` names. With `DAEMON_TESTS_STRICT=1` it fails instead.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::{env, thread};

/// Skips this test, by returning from it, unless each of the conditions holds: `require!(root(),
/// tool("strace"))`. The conditions are functions of the module [`require`](mod@crate::require).
#[macro_export]
macro_rules! require {
    ($($condition:ident($($argument:expr),*)),+ $(,)?) => {
        $(if let Err(reason) = $crate::require::$condition($($argument),*) {
            $crate::require::skip(&reason);
            return;
        })+
    };
}

/// The test runs as root, with every capability that root has by default.
pub fn root() -> Result<(), String> {
    that(nix::unistd::geteuid().is_root(), "needs root")
}

/// The test can make machines for [managers](crate::managers).
pub fn machine() -> Result<(), String> {
    root()?;
    that(
        crate::managers::Machine::possible(),
        "needs the right to make namespaces and mounts",
    )
}

/// The test does not run as root.
pub fn unprivileged() -> Result<(), String> {
    that(!nix::unistd::geteuid().is_root(), "needs an ordinary user")
}

/// The tracer of the fault injection knows the registers of this machine.
pub fn x86_64() -> Result<(), String> {
    that(cfg!(target_arch = "x86_64"), "needs x86-64")
}

/// The kernel is one of 64 bits, whatever this program is.
pub fn kernel_of_64_bits() -> Result<(), String> {
    let machine = nix::sys::utsname::uname().map_err(|error| error.to_string())?;
    let machine = machine.machine().to_string_lossy();
    that(
        machine.contains("64") || machine == "s390x",
        "needs a kernel of 64 bits",
    )
}

/// The fault injection knows the system calls that the C library works by.
pub fn glibc() -> Result<(), String> {
    that(
        cfg!(target_env = "gnu"),
        "needs glibc: faults are listed for the system calls that it makes",
    )
}

/// This program is found in `PATH`.
pub fn tool(name: &str) -> Result<(), String> {
    let path = env::var_os("PATH").unwrap_or_default();
    that(
        env::split_paths(&path).any(|dir| dir.join(name).is_file()),
        &format!("needs {name}"),
    )
}

/// Any other condition, with the reason to give where it does not hold.
pub fn that(holds: bool, reason: &str) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(reason.to_owned())
    }
}

/// Makes a skipped test visible; [`require!`](crate::require!) calls it.
pub fn skip(reason: &str) {
    let line = format!(
        "SKIPPED: {}: {reason}\n",
        thread::current().name().unwrap_or("?")
    );
    assert!(
        env::var_os("DAEMON_TESTS_STRICT").is_none_or(|value| value != "1"),
        "{line}"
    );
    // Written at once, to the stream itself: `eprint!` would be captured, and a test that passes
    // shows nothing.
    io::stderr().write_all(line.as_bytes()).expect("stderr");
    if let Some(file) = env::var_os("DAEMON_TESTS_SKIPPED") {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
            .expect("DAEMON_TESTS_SKIPPED");
        file.write_all(line.as_bytes())
            .expect("DAEMON_TESTS_SKIPPED");
    }
}
