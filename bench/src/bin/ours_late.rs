//! This library without a setting, started by a function that `main` calls.

use std::process::ExitCode;

fn main() -> ExitCode {
    serve()
}

#[daemon_rt::daemon]
fn serve() {
    daemon_bench::sleep();
}
