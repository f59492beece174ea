//! s6 and runit: a service directory, and a link to it in the directory that the manager scans.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

use super::change::named;
use super::find::{self, Program};
use super::layout::{Boot, Layout, words};
use crate::manager::supervisor;

pub(super) fn runit(name: &str) -> io::Result<Layout> {
    let layout = scanned(name, "/etc/sv", &of_runsvdir()?);
    let sv = |verb| words(&["sv", "-w", "150", verb, &own(&layout)]);
    Ok(Layout {
        start: vec![sv("start")],
        stop: vec![sv("exit")],
        ..layout
    })
}

pub(super) fn s6(name: &str) -> io::Result<Layout> {
    let directory = of_s6_svscan()?;
    let layout = scanned(name, "/etc/s6/sv", &directory);
    let scan = words(&["s6-svscanctl", "-a", &directory.display().to_string()]);
    let svc = |until, option| words(&["s6-svc", until, "-T", "150000", option, &own(&layout)]);
    Ok(Layout {
        reload: vec![scan.clone()],
        start: vec![svc("-wU", "-u")],
        stop: vec![scan, svc("-wD", "-xd")],
        ..layout
    })
}

/// A service directory in `directory`, which is linked to from `scanned`; without the commands.
fn scanned(name: &str, directory: &str, scanned: &Path) -> Layout {
    Layout {
        name: name.to_owned(),
        directory: directory.into(),
        file: format!("{name}/run"),
        packaged: Vec::new(),
        boot: Boot::Scan {
            link: scanned.join(name),
        },
        units: None,
        reload: Vec::new(),
        start: Vec::new(),
        stop: Vec::new(),
        forget: Vec::new(),
    }
}

/// The service directory.
fn own(layout: &Layout) -> String {
    layout.directory.join(&layout.name).display().to_string()
}

/// The directory of `runsvdir DIRECTORY`.
fn of_runsvdir() -> io::Result<PathBuf> {
    let process = find::process(Program::RUNSVDIR)?;
    let mut arguments = supervisor::arguments(process).into_iter().skip(1);
    match arguments.find(|argument| !argument.starts_with(b"-")) {
        Some(argument) if argument.starts_with(b"/") => Ok(OsString::from_vec(argument).into()),
        Some(argument) => Ok(working_directory(process)?.join(OsString::from_vec(argument))),
        None => Err(io::Error::other(format!(
            "the directory of runsvdir (pid {process}) is not known"
        ))),
    }
}

/// The directory of `s6-svscan DIRECTORY`, in which it works.
fn of_s6_svscan() -> io::Result<PathBuf> {
    let process = find::process(Program::S6_SVSCAN)?;
    let mut arguments = supervisor::arguments(process).into_iter().skip(1);
    match arguments.find(|argument| argument.starts_with(b"/")) {
        Some(argument) => Ok(OsString::from_vec(argument).into()),
        None => working_directory(process),
    }
}

fn working_directory(process: Pid) -> io::Result<PathBuf> {
    let link = format!("/proc/{process}/cwd");
    std::fs::read_link(&link).map_err(|error| named(Path::new(&link), &error))
}
