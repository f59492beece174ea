//! OpenRC: a script in /etc/init.d, in the runlevel `default`.

use super::change::Words;
use super::layout::{Boot, Layout, words};

pub(super) fn layout(name: &str) -> Layout {
    Layout {
        name: name.to_owned(),
        directory: "/etc/init.d".into(),
        file: name.to_owned(),
        packaged: Vec::new(),
        boot: Boot::Commands {
            enable: vec![words(&["rc-update", "add", name, "default"])],
            disable: delete(name),
        },
        units: None,
        reload: Vec::new(),
        start: vec![words(&["rc-service", name, "start"])],
        stop: vec![words(&["rc-service", "--ifstarted", name, "stop"])],
        forget: Vec::new(),
    }
}

/// The command fails where there is nothing to do.
fn delete(name: &str) -> Vec<Words> {
    let mut levels = Vec::new();
    if let Ok(all) = std::fs::read_dir("/etc/runlevels") {
        for level in all.flatten() {
            if level.path().join(name).symlink_metadata().is_ok() {
                levels.push(level.file_name().to_string_lossy().into_owned());
            }
        }
    }
    if levels.is_empty() {
        return Vec::new();
    }
    let mut command = words(&["rc-update", "delete", name]);
    command.extend(levels);
    vec![command]
}
