//! The shell commands that become the service, for a manager that executes a script or has no
//! settings for what they do.

use super::input::UnitInput;
use super::prepare;
use super::quote::{shell, shell_line};
use super::resources;

/// The script after its first line. `first` is what comes before all else.
pub(super) fn script(input: &UnitInput<'_>, first: Vec<String>) -> Vec<String> {
    let mut script = input.comments("# ");
    script.extend(commands(input, first, &resources::wrapper(input)));
    script
}

/// The commands alone. `wrapper` comes before the service's own words.
pub(super) fn commands(
    input: &UnitInput<'_>,
    first: Vec<String>,
    wrapper: &[String],
) -> Vec<String> {
    let mut commands = first;
    commands.push(read_environment(input));
    commands.extend(prepare::in_shell(input));
    if let Some(mask) = input.umask() {
        commands.push(format!("umask {mask}"));
    }
    if let Some(path) = &input.stdout {
        commands.push(format!("exec >>{}", shell(path)));
    }
    if let Some(path) = &input.stderr {
        commands.push(format!("exec 2>>{}", shell(path)));
    }
    // The service must not stay in the manager's directory.
    let directory = shell(input.directory_outside_chroot());
    commands.push(format!("cd {directory} || exit"));
    let mut words: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    words.extend(input.command("run"));
    commands.push(format!("exec {}", shell_line(&words)));
    commands
}

/// Reads the file with variables, if there is one.
pub(super) fn read_environment(input: &UnitInput<'_>) -> String {
    let file = input.environment_file();
    format!("if test -r {file}; then set -a; . {file}; set +a; fi")
}
