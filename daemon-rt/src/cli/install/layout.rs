//! The place of a service's files under a manager, and the manager's commands.

use std::io;
use std::path::{Path, PathBuf};

use super::change::{Change, Words};
use super::mark::{self, Found, kept};
use crate::cli::unit::ServiceFile;

pub(super) struct Layout {
    pub(super) name: String,
    pub(super) directory: PathBuf,
    /// The first of the files, as a path below the directory: the one that has the mark.
    pub(super) file: String,
    /// The places of a package's file of the same name.
    pub(super) packaged: Vec<PathBuf>,
    pub(super) boot: Boot,
    /// Set where each of the files is a unit of its own.
    pub(super) units: Option<Units>,
    /// The commands after a file was written.
    pub(super) reload: Vec<Words>,
    pub(super) start: Vec<Words>,
    pub(super) stop: Vec<Words>,
    /// The changes after the files were removed.
    pub(super) forget: Vec<Change>,
}

/// Units that come and go with an update.
pub(super) struct Units {
    /// The beginnings of commands.
    pub(super) disable: Words,
    pub(super) stop: Words,
    pub(super) are_enabled: bool,
}

/// What decides on a start at boot.
pub(super) enum Boot {
    Commands {
        enable: Vec<Words>,
        disable: Vec<Words>,
    },
    /// A link to the service's own directory, where the manager scans for such; and in that
    /// directory no file `down`, which the supervisor looks for when it begins.
    Scan { link: PathBuf },
    /// A file by which the service is in a bundle of s6-rc.
    Bundle { member: PathBuf },
    /// The file, unless it has this line.
    Unless(&'static str),
}

/// The time of the service's first start.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Start {
    Now,
    AtBoot,
}

/// The start at boot, switched on or off.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Switch {
    On,
    Off,
}

impl Layout {
    /// The path of the first file.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.join(&self.file)
    }

    /// What a person should know.
    pub(super) fn note(&self) -> String {
        match &self.boot {
            // A file system in memory.
            Boot::Scan { link } if link.starts_with("/run") => format!(
                " (but {} is not there after a boot: put such a link where that directory is made from)",
                link.display()
            ),
            _ => String::new(),
        }
    }

    /// The service directory, where it has one of its own.
    fn own_directory(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    pub(super) fn creation(&self, files: Vec<ServiceFile>, start: Start) -> Vec<Change> {
        let mut changes = self.writing(files);
        match &self.boot {
            Boot::Commands { enable, .. } => {
                changes.extend(Change::run_all(&self.reload));
                changes.extend(Change::run_all(enable));
            }
            Boot::Scan { link } => changes.extend(self.link(link, start)),
            Boot::Bundle { member } => changes.extend([empty(member), Change::Compile]),
            Boot::Unless(_) => {}
        }
        changes
    }

    pub(super) fn update(&self, old: Vec<String>, files: Vec<ServiceFile>) -> Vec<Change> {
        let added = files.iter().any(|file| !old.contains(&file.path));
        let is_new = |old: &String| files.iter().any(|file| file.path == *old);
        let stale: Vec<_> = old.into_iter().filter(|old| !is_new(old)).collect();
        let of_stale = |command: fn(&Units) -> &Words| match &self.units {
            Some(units) if !stale.is_empty() => {
                vec![Change::Run([&command(units)[..], &stale].concat())]
            }
            _ => Vec::new(),
        };
        let mut changes = of_stale(|units| &units.disable);
        // The service goes on: it no longer needs them.
        let after = of_stale(|units| &units.stop);
        changes.extend(self.writing(files));
        changes.extend(self.removing(stale));
        changes.extend(Change::run_all(&self.reload));
        changes.extend(after);
        match (&self.boot, &self.units) {
            (Boot::Bundle { .. }, _) => changes.push(Change::Compile),
            (Boot::Commands { enable, .. }, Some(units)) if added && units.are_enabled => {
                changes.extend(Change::run_all(enable));
            }
            _ => {}
        }
        changes
    }

    pub(super) fn removal(&self, files: Vec<String>) -> Vec<Change> {
        let mut changes = Vec::new();
        match &self.boot {
            Boot::Commands { disable, .. } => {
                changes.extend(Change::run_all(&self.stop));
                changes.extend(Change::run_all(disable));
                changes.extend(self.removing(files));
            }
            Boot::Scan { link } => {
                let directory = self.own_directory();
                changes.push(Change::Remove(link.clone()));
                changes.push(Change::EndSupervisor {
                    directory: directory.clone(),
                    commands: self.stop.clone(),
                });
                changes.extend(self.removing(files));
                changes.push(Change::Remove(self.down()));
                changes.push(Change::RemoveDirectory(directory));
            }
            Boot::Bundle { member } => {
                changes.extend(Change::run_all(&self.stop));
                changes.push(Change::Remove(member.clone()));
                changes.extend(self.removing(files));
                changes.push(Change::RemoveDirectory(self.own_directory()));
                changes.push(Change::Compile);
            }
            Boot::Unless(_) => changes.extend(self.removing(files)),
        }
        changes.extend(self.forget.iter().cloned());
        changes
    }

    /// The changes that switch the start at boot on or off.
    pub(super) fn switch(&self, to: Switch) -> io::Result<Vec<Change>> {
        Ok(match (&self.boot, to) {
            (Boot::Commands { enable, .. }, Switch::On) => Change::run_all(enable),
            (Boot::Commands { disable, .. }, Switch::Off) => Change::run_all(disable),
            (Boot::Scan { link }, Switch::On) if link.symlink_metadata().is_err() => {
                self.link(link, Start::AtBoot)
            }
            (Boot::Scan { .. }, Switch::On) => vec![Change::Remove(self.down())],
            (Boot::Scan { .. }, Switch::Off) => vec![empty(&self.down())],
            (Boot::Bundle { member }, Switch::On) => vec![empty(member), Change::Compile],
            (Boot::Bundle { member }, Switch::Off) => {
                vec![Change::Remove(member.clone()), Change::Compile]
            }
            (Boot::Unless(line), _) => self.rewriting(line, to)?,
        })
    }

    /// Has the new text the line by which the old one is not started at boot.
    pub(super) fn keep_disabled(&self, old: &str, new: &mut String) {
        if let Boot::Unless(line) = self.boot {
            if old.lines().any(|old| old == line) {
                new.push_str(line);
                new.push('\n');
            }
        }
    }

    /// Writes the file with or without a line.
    fn rewriting(&self, line: &str, to: Switch) -> io::Result<Vec<Change>> {
        let Found::Untouched { text, .. } = mark::find(&self.directory, &self.file)? else {
            return Err(kept(&self.path(), "changed"));
        };
        let mut text = mark::without(&text).replace(&format!("{line}\n"), "");
        if to == Switch::Off {
            text += line;
            text.push('\n');
        }
        let mut files = [ServiceFile {
            path: self.file.clone(),
            text,
            mode: 0o644,
        }];
        mark::add(&self.name, &mut files);
        Ok(self.writing(files.into()))
    }

    fn writing(&self, files: Vec<ServiceFile>) -> Vec<Change> {
        let write = |file: ServiceFile| Change::Write {
            path: self.directory.join(file.path),
            text: file.text,
            mode: file.mode,
        };
        files.into_iter().map(write).collect()
    }

    fn removing(&self, files: Vec<String>) -> Vec<Change> {
        let remove = |file| Change::Remove(self.directory.join(file));
        files.into_iter().map(remove).collect()
    }

    /// Lets the manager find the service directory.
    fn link(&self, link: &Path, start: Start) -> Vec<Change> {
        let mut changes = Vec::new();
        if start == Start::AtBoot {
            changes.push(empty(&self.down()));
        }
        changes.push(Change::Link {
            path: link.to_owned(),
            target: self.own_directory(),
        });
        changes.extend(Change::run_all(&self.reload));
        changes.push(Change::AwaitSupervisor(self.own_directory()));
        if start == Start::AtBoot {
            changes.push(Change::Remove(self.down()));
        }
        changes
    }

    /// The supervisor looks for this file when it begins: at boot.
    fn down(&self) -> PathBuf {
        self.own_directory().join("down")
    }
}

/// Writes an empty file.
fn empty(path: &Path) -> Change {
    Change::Write {
        path: path.to_owned(),
        text: String::new(),
        mode: 0o644,
    }
}

/// A command and its arguments.
pub(super) fn words(words: &[&str]) -> Words {
    words.iter().map(|&word| word.to_owned()).collect()
}
