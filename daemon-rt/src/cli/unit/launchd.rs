//! launchd: a property list for /Library/LaunchDaemons.

use super::quote::xml;
use super::{Sheet, lines};

const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
"#;

const UNLESS_IT_ENDED_WELL: &str = "<dict>
        <key>SuccessfulExit</key>
        <false/>
    </dict>";

pub(super) fn property_list(sheet: &Sheet<'_>) -> String {
    let arguments = sheet
        .command("run")
        .into_iter()
        .map(|word| format!("        {}", string(word)));
    let mut entries = vec![
        ("Label", string(&sheet.name)),
        (
            "ProgramArguments",
            format!("<array>\n{}    </array>", lines(arguments)),
        ),
        ("WorkingDirectory", string(sheet.directory_outside_chroot())),
    ];
    // A property list has no octal numbers.
    entries.extend(sheet.umask().map(|_| {
        (
            "Umask",
            format!("<integer>{}</integer>", sheet.daemon.umask),
        )
    }));
    entries.extend(
        sheet
            .stdout
            .as_deref()
            .map(|path| ("StandardOutPath", string(path))),
    );
    entries.extend(
        sheet
            .stderr
            .as_deref()
            .map(|path| ("StandardErrorPath", string(path))),
    );
    entries.push(("RunAtLoad", "<true/>".to_owned()));
    entries.push(("KeepAlive", UNLESS_IT_ENDED_WELL.to_owned()));
    let entries = lines(
        entries
            .iter()
            .map(|(key, value)| format!("    <key>{key}</key>\n    {value}")),
    );
    format!("{HEAD}<plist version=\"1.0\">\n<dict>\n{entries}</dict>\n</plist>\n")
}

fn string(text: &str) -> String {
    format!("<string>{}</string>", xml(text))
}
