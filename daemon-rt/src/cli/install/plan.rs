//! What a command changes, and what it says.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::unistd::{AccessFlags, eaccess};

use super::change::Change;
use super::layout::{Layout, Start, Switch, words};
use super::mark::{self, Found, kept};
use crate::cli::unit::ServiceFile;

/// The changes that a command asks for.
pub(super) struct Plan {
    /// The directory of the files.
    directory: PathBuf,
    changes: Vec<Change>,
    /// The changes that undo those before, where one of them fails.
    undo: Vec<Change>,
    /// The commands after them, which may fail.
    start: Vec<Change>,
    /// What was done then.
    pub(super) outcome: String,
}

/// Writes the files of the service, and has it started at boot.
pub(super) fn install(
    layout: &Layout,
    mut files: Vec<ServiceFile>,
    start: Start,
) -> io::Result<Plan> {
    let path = layout.path().display().to_string();
    let found = mark::find(&layout.directory, &layout.file)?;
    // The mark is in the first.
    files.sort_by_key(|file| file.path != layout.file);
    if let Found::Untouched { text, .. } = &found {
        layout.keep_disabled(text, &mut files[0].text);
    }
    mark::add(&layout.name, &mut files);
    let mut plan = match found {
        Found::Changed(path) => return Err(kept(&path, "replaced")),
        Found::Nothing => {
            refuse_others(layout, &files)?;
            let names = files.iter().map(|file| file.path.clone()).collect();
            let outcome = format!("installed: {path}{}", layout.note());
            let mut plan = Plan::new(layout, outcome);
            plan.undo = layout.removal(names);
            plan.changes = layout.creation(files, start);
            plan
        }
        Found::Untouched { text, .. } if text == files[0].text => {
            Plan::new(layout, format!("is already installed: {path}"))
        }
        Found::Untouched { files: old, .. } => {
            let mut plan = Plan::new(layout, format!("updated: {path}"));
            plan.changes = layout.update(old, files);
            plan
        }
    };
    if start == Start::Now {
        plan.start = Change::run_all(&layout.start);
    }
    Ok(plan)
}

/// Stops the service, and removes what was installed.
pub(super) fn uninstall(layout: &Layout) -> io::Result<Plan> {
    match mark::find(&layout.directory, &layout.file)? {
        Found::Nothing => Ok(Plan::new(layout, "is not installed")),
        Found::Changed(path) => Err(kept(&path, "removed")),
        Found::Untouched { files, .. } => {
            let path = layout.path();
            let mut plan = Plan::new(layout, format!("uninstalled: {}", path.display()));
            plan.changes = layout.removal(files);
            Ok(plan)
        }
    }
}

/// Has the service started at boot, or not: also one whose file was changed, as long as the file
/// need not be written.
pub(super) fn switch(layout: &Layout, to: Switch) -> io::Result<Plan> {
    if layout.path().symlink_metadata().is_err() {
        let path = layout.path();
        let problem = format!("{}: it is not there: install it first", path.display());
        return Err(io::Error::other(problem));
    }
    let mut plan = Plan::new(
        layout,
        match to {
            Switch::On => "enabled: it is started at boot",
            Switch::Off => "disabled: it is not started at boot",
        },
    );
    plan.changes = layout.switch(to)?;
    Ok(plan)
}

/// Fails if one of the files is there, or a package has one of the same name.
fn refuse_others(layout: &Layout, files: &[ServiceFile]) -> io::Result<()> {
    let mut others: Vec<PathBuf> = layout.packaged.clone();
    others.extend(files.iter().map(|file| layout.directory.join(&file.path)));
    match others.iter().find(|path| path.symlink_metadata().is_ok()) {
        Some(path) => Err(kept(path, "replaced")),
        None => Ok(()),
    }
}

impl Plan {
    fn new(layout: &Layout, outcome: impl Into<String>) -> Self {
        Self {
            directory: layout.directory.clone(),
            changes: Vec::new(),
            undo: Vec::new(),
            start: Vec::new(),
            outcome: outcome.into(),
        }
    }

    /// The plan that first makes these directories, those of them that are not there.
    pub(super) fn with_directories(mut self, directories: Vec<PathBuf>) -> Self {
        for directory in directories {
            if !directory.exists() {
                let path = directory.to_string_lossy();
                let make = words(&["mkdir", "-m755", "-p", &path]);
                self.changes.insert(0, Change::Run(make));
            }
        }
        self
    }

    /// The changes as text, or the outcome if there are none.
    pub(super) fn text(&self, name: &str) -> String {
        let all = self.changes.iter().chain(&self.start);
        let text: String = all.map(ToString::to_string).collect();
        if text.is_empty() {
            format!("{name} {}", self.outcome)
        } else {
            text
        }
    }

    /// Makes the changes.
    pub(super) fn carry_out(&self) -> io::Result<()> {
        if !self.changes.is_empty() {
            self.check_permission()?;
        }
        for change in &self.changes {
            if let Err(error) = change.make() {
                for change in &self.undo {
                    _ = change.make();
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Has the manager start the service.
    pub(super) fn start(&self) -> io::Result<()> {
        self.start.iter().try_for_each(Change::make)
    }

    /// Fails if the caller cannot change the directory of the files.
    fn check_permission(&self) -> io::Result<()> {
        let Some(there) = self.directory.ancestors().find(|path| path.exists()) else {
            return Ok(());
        };
        let Err(errno) = eaccess(there, AccessFlags::W_OK | AccessFlags::X_OK) else {
            return Ok(());
        };
        let error = io::Error::from(errno);
        let mut text = format!("{}: {error}", there.display());
        if error.kind() == io::ErrorKind::PermissionDenied && fs::metadata(there)?.uid() == 0 {
            text += ": only root can do this";
        }
        Err(io::Error::new(error.kind(), text))
    }
}
