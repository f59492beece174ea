use std::io::{self, Write};

use daemon_rt::{Started, daemon};

#[daemon(started = greet)]
fn main() {}

fn greet(started: &Started) -> io::Result<()> {
    writeln!(io::stdout(), "running as {}", started.pid)
}
