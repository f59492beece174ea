//! launchd: a property list for /Library/LaunchDaemons.

use super::file::{ServiceFile, ServiceFiles};
use super::input::{UnitInput, lines};
use super::prepare;
use super::quote::xml;
use super::resources::{self, Which};

const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
"#;

const UNLESS_IT_ENDED_WELL: &str = "<dict>
        <key>SuccessfulExit</key>
        <false/>
    </dict>";

pub(super) fn property_list(input: &UnitInput<'_>) -> ServiceFiles {
    let command = input.command("run");
    let arguments = lines(
        command
            .iter()
            .map(|word| format!("        {}", string(word))),
    );
    let mut entries = vec![
        ("Label", string(&input.name)),
        (
            "ProgramArguments",
            format!("<array>\n{arguments}    </array>"),
        ),
        ("WorkingDirectory", string(input.directory_outside_chroot())),
    ];
    if let Some(mask) = input.umask_number() {
        // A property list has no octal numbers.
        entries.push(("Umask", format!("<integer>{mask}</integer>")));
    }
    for (key, limits) in [
        ("SoftResourceLimits", resources::launchd(input, Which::Soft)),
        ("HardResourceLimits", resources::launchd(input, Which::Hard)),
    ] {
        if !limits.is_empty() {
            entries.push((key, numbers(&limits)));
        }
    }
    if let Some(value) = input.daemon.nice {
        entries.push(("Nice", format!("<integer>{value}</integer>")));
    }
    if let Some(path) = &input.stdout {
        entries.push(("StandardOutPath", string(path)));
    }
    if let Some(path) = &input.stderr {
        entries.push(("StandardErrorPath", string(path)));
    }
    if let Some(seconds) = input.kill_after() {
        entries.push(("ExitTimeOut", format!("<integer>{seconds}</integer>")));
    }
    entries.push(("RunAtLoad", "<true/>".to_owned()));
    entries.push(("KeepAlive", UNLESS_IT_ENDED_WELL.to_owned()));
    let entries = lines(
        entries
            .iter()
            .map(|(key, value)| format!("    <key>{key}</key>\n    {value}")),
    );
    let notes = lines(notes(input));
    let list =
        format!("{HEAD}{notes}<plist version=\"1.0\">\n<dict>\n{entries}</dict>\n</plist>\n");
    let file = ServiceFile::text(format!("{}.plist", input.name), list);
    ServiceFiles::new("/Library/LaunchDaemons", vec![file])
}

/// Two hyphens would end a comment.
fn notes(input: &UnitInput<'_>) -> Vec<String> {
    let mut notes = input.comments("");
    for (directory, _) in prepare::directories(input) {
        notes.push(format!("{} must be there.", directory.display()));
    }
    for note in &mut notes {
        *note = format!("<!-- {} -->", note.replace("--", "- -"));
    }
    notes
}

fn numbers(entries: &[(&str, u64)]) -> String {
    let entries = lines(entries.iter().map(|(key, value)| {
        format!("        <key>{key}</key>\n        <integer>{value}</integer>")
    }));
    format!("<dict>\n{entries}    </dict>")
}

fn string(text: &str) -> String {
    format!("<string>{}</string>", xml(text))
}
