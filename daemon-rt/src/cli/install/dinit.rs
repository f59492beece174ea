//! dinit: a service description in /etc/dinit.d, for which the service `boot` waits.

use std::path::Path;

use super::change::Change;
use super::layout::{Boot, Layout, words};

const DIRECTORY: &str = "/etc/dinit.d";
const PACKAGED: [&str; 3] = ["/usr/local/lib/dinit.d", "/usr/lib/dinit.d", "/lib/dinit.d"];

pub(super) fn layout(name: &str) -> Layout {
    // By the files alone: else it starts and stops the service, too.
    let offline = |verb| vec![words(&["dinitctl", "--offline", verb, name])];
    // It fails where there is nothing to do.
    let (enable, disable) = if is_enabled(name) {
        (Vec::new(), offline("disable"))
    } else {
        (offline("enable"), Vec::new())
    };
    let ctl = |verb: &[&str]| words(&[&["dinitctl"], verb, &[name]].concat());
    Layout {
        name: name.to_owned(),
        directory: DIRECTORY.into(),
        file: name.to_owned(),
        packaged: PACKAGED.map(|place| Path::new(place).join(name)).into(),
        boot: Boot::Commands { enable, disable },
        units: None,
        reload: Vec::new(),
        start: vec![ctl(&["start"])],
        stop: vec![ctl(&["stop", "--ignore-unstarted"])],
        // It may not have seen it, or not since it has begun.
        forget: vec![
            Change::Try(ctl(&["rm-dep", "waits-for", "boot"])),
            Change::Try(ctl(&["unload"])),
        ],
    }
}

/// Checks whether `boot` has the service in its directory `waits-for.d`.
fn is_enabled(name: &str) -> bool {
    let directory = Path::new(DIRECTORY);
    let boot = std::fs::read_to_string(directory.join("boot")).unwrap_or_default();
    boot.lines().any(|line| match line.split_once([':', '=']) {
        Some((setting, value)) if setting.trim() == "waits-for.d" => {
            let link = directory.join(value.trim()).join(name);
            link.symlink_metadata().is_ok()
        }
        _ => false,
    })
}
