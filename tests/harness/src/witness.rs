//! Which processes run a program under test: not by what the product, its pidfile or the family of
//! processes say, but by `/proc/PID/exe`.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use procfs::process::all_processes;

use crate::find_bin;
use crate::proc::describe;

/// The programs of the harness itself.
const OURS: [&str; 2] = ["keeper", "noise"];

/// Whether it runs a program of this workspace, or a copy of one.
pub(crate) fn is_tested(pid: i32) -> bool {
    let Ok(exe) = fs::read_link(format!("/proc/{pid}/exe")) else {
        return false;
    };
    let Some(name) = exe
        .file_name()
        .filter(|name| !OURS.iter().any(|ours| name == ours))
    else {
        return false;
    };
    std::env::current_exe().is_ok_and(|me| exe != me) && find_bin(name).is_some()
}

/// Processes that run such a program, and have to do with the scene in this directory: by their
/// arguments, or by a file that they have open.
pub(crate) fn of_scene(directory: &Path) -> Vec<String> {
    let processes = all_processes().expect("/proc").flatten();
    let mut pids: Vec<i32> = processes.map(|process| process.pid).collect();
    pids.retain(|pid| is_tested(*pid) && is_of(*pid, directory));
    pids.into_iter().map(describe).collect()
}

fn is_of(pid: i32, directory: &Path) -> bool {
    let directory = directory.as_os_str().as_bytes();
    let names_it = |bytes: &[u8]| bytes.windows(directory.len()).any(|part| part == directory);
    let open = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    let leads_there = |link: PathBuf| {
        fs::read_link(link).is_ok_and(|target| names_it(target.as_os_str().as_bytes()))
    };
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|arguments| names_it(&arguments))
        || open.map(|entry| entry.path()).any(leads_there)
}
