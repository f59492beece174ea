//! Exhaustive fault injection into the start of a service. Its page is `README.md`.

#[cfg(target_arch = "x86_64")]
mod walk;

use std::process::ExitCode;

#[cfg(target_arch = "x86_64")]
fn main() -> ExitCode {
    walk::main()
}

/// The registers in which a call is made and answered are written for one architecture.
#[cfg(not(target_arch = "x86_64"))]
fn main() -> ExitCode {
    eprintln!("inject: only on x86-64");
    ExitCode::from(2)
}
