//! The compiled database of s6-rc, to which a link leads.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::control::keeper;

pub(super) const SOURCE: &str = "/etc/s6-rc/source";
pub(super) const COMPILED: &str = "/etc/s6-rc/compiled";
/// The link to the database that s6-rc has now.
const LIVE: &str = "/run/s6-rc/compiled";
/// The databases that are made here: this and a number.
const PREFIX: &str = "/etc/s6-rc/compiled-";

/// Time limit for a command of a manager, the start or the end of services included.
pub(super) const COMMAND: Duration = Duration::from_secs(180);

/// Compiles the sources, and has s6-rc go on with that, now and after a boot.
pub(super) fn compile() -> io::Result<()> {
    let old = fs::canonicalize(COMPILED)?;
    let new = unused();
    let made = take(&new);
    for database in [old, new] {
        // An administrator's own database stays.
        let is_made_here = database.to_string_lossy().starts_with(PREFIX);
        if is_made_here && database.exists() && !is_in_use(&database) {
            fs::remove_dir_all(database)?;
        }
    }
    made
}

/// Checks whether s6-rc has this database, now or after a boot: s6-rc-update also fails where it has
/// taken it, and a service does not start.
fn is_in_use(database: &Path) -> bool {
    let leads_to = |link| matches!(fs::canonicalize(link), Ok(found) if found == database);
    leads_to(LIVE) || leads_to(COMPILED)
}

fn take(new: &Path) -> io::Result<()> {
    let name = new.display().to_string();
    for words in [
        &["s6-rc-compile", &name, SOURCE][..],
        &["s6-rc-update", &name],
    ] {
        let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
        keeper::run(&words, COMMAND)?;
    }
    let link = new.with_extension("link");
    symlink(new, &link)?;
    fs::rename(link, COMPILED)
}

/// The first name that is not there.
fn unused() -> PathBuf {
    let mut number = 1;
    loop {
        let path = PathBuf::from(format!("{PREFIX}{number}"));
        if path.symlink_metadata().is_err() {
            return path;
        }
        number += 1;
    }
}
