//! On what it was measured.

use std::fs;
use std::process::Command;

use serde::Serialize;

#[derive(Serialize)]
pub struct Machine {
    cpu: String,
    cpus: usize,
    kernel: String,
    rustc: String,
    libc: String,
    /// How many processes wanted to run meanwhile: the measurement is one.
    load: String,
}

impl Machine {
    pub fn this() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let cpu = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Self {
            cpu: cpu.map(|(_, name)| name.to_owned()).unwrap_or_default(),
            cpus: std::thread::available_parallelism().map_or(0, Into::into),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            rustc: output("rustc", "--version"),
            libc: output("getconf", "GNU_LIBC_VERSION"),
            load: read("/proc/loadavg").trim().to_owned(),
        }
    }
}

fn output(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}
