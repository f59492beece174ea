use std::process::{ExitCode, Termination};

use daemon_rt::daemon;

#[daemon]
fn main() -> impl Termination {
    ExitCode::SUCCESS
}
