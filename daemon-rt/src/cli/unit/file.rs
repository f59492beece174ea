//! What is printed: one file or several.

use super::input::lines;
use super::quote::shell;

/// The modes of a file: what is executed, and what is read.
pub(super) const SCRIPT: u32 = 0o755;
pub(super) const TEXT: u32 = 0o644;

/// The files of a service for one manager, or for a tool beside it.
pub(in crate::cli) struct ServiceFiles {
    /// The usual directory of these files.
    pub(in crate::cli) directory: &'static str,
    /// At least one.
    pub(in crate::cli) files: Vec<ServiceFile>,
}

pub(in crate::cli) struct ServiceFile {
    /// Below the directory: a name, or a path in a directory of the service's own.
    pub(in crate::cli) path: String,
    pub(in crate::cli) text: String,
    pub(in crate::cli) mode: u32,
}

impl ServiceFile {
    pub(super) fn text(path: impl Into<String>, text: String) -> Self {
        Self {
            path: path.into(),
            text,
            mode: TEXT,
        }
    }

    pub(super) fn script(path: impl Into<String>, text: String) -> Self {
        Self {
            path: path.into(),
            text,
            mode: SCRIPT,
        }
    }
}

impl ServiceFiles {
    pub(super) fn new(directory: &'static str, files: Vec<ServiceFile>) -> Self {
        Self { directory, files }
    }

    /// One file is printed as it is; several as a shell script that creates them.
    pub(in crate::cli) fn printed(&self) -> String {
        match self.files.as_slice() {
            [file] => file.text.clone(),
            files => archive(self.directory, files),
        }
    }
}

fn archive(directory: &str, files: &[ServiceFile]) -> String {
    let mut script = vec![
        "#!/bin/sh".to_owned(),
        format!("# Creates several files: pipe it into sh -s {directory}"),
        "set -e".to_owned(),
        format!("mkdir -p \"${{1:-{directory}}}\""),
        format!("cd \"${{1:-{directory}}}\""),
    ];
    let mut made = "";
    for file in files {
        let path = shell(&file.path);
        match file.path.rsplit_once('/') {
            Some((parent, _)) if parent != made => {
                script.push(format!("mkdir -p {}", shell(parent)));
                made = parent;
            }
            _ => {}
        }
        script.push(format!("cat >{path} <<'END'\n{}END", file.text));
        script.push(format!("chmod {:o} {path}", file.mode));
    }
    lines(script)
}
