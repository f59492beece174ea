//! Resource limits, nice value, `oom_score_adj` and CPU affinity, in the words of each manager.

use super::input::UnitInput;
use crate::limits::SoftAndHard;

/// systemd.exec(5).
pub(super) fn systemd(input: &UnitInput<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, values) in &input.limits {
        let name = name.to_uppercase();
        lines.push(format!("Limit{name}={}", both(*values, "infinity")));
    }
    if let Some(value) = input.daemon.nice {
        lines.push(format!("Nice={value}"));
    }
    if let Some(value) = input.daemon.oom_score_adj {
        lines.push(format!("OOMScoreAdjust={value}"));
    }
    if let Some(list) = &input.daemon.cpu_affinity {
        lines.push(format!("CPUAffinity={list}"));
    }
    lines
}

/// The words before a command that has the limits, for a manager that has no setting for them.
pub(super) fn wrapper(input: &UnitInput<'_>) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(value) = input.daemon.nice {
        words.extend(["nice".to_owned(), "-n".to_owned(), value.to_string()]);
    }
    if let Some(value) = input.daemon.oom_score_adj {
        words.extend(["choom", "-n"].map(str::to_owned));
        words.extend([value.to_string(), "--".to_owned()]);
    }
    words.extend(wrapper_of_procd(input));
    if !input.limits.is_empty() {
        words.push("prlimit".to_owned());
        words.extend(options_of_prlimit(input));
        words.push("--".to_owned());
    }
    words
}

/// The words for what procd has no setting for.
pub(super) fn wrapper_of_procd(input: &UnitInput<'_>) -> Vec<String> {
    match &input.daemon.cpu_affinity {
        Some(list) => ["taskset", "-c", list].map(str::to_owned).into(),
        None => Vec::new(),
    }
}

/// The commands that give a shell what supervise-daemon(8) has no options for.
pub(super) fn of_shell(input: &UnitInput<'_>) -> Vec<String> {
    let mut commands = Vec::new();
    if !input.limits.is_empty() {
        let options = options_of_prlimit(input).join(" ");
        commands.push(format!("prlimit --pid $$ {options}"));
    }
    if let Some(list) = &input.daemon.cpu_affinity {
        commands.push(format!("taskset -cp {list} $$ >/dev/null"));
    }
    commands
}

fn options_of_prlimit(input: &UnitInput<'_>) -> Vec<String> {
    let limits = input.limits.iter();
    limits
        .map(|(name, values)| format!("--{name}={}", both(*values, "unlimited")))
        .collect()
}

fn both(values: SoftAndHard, unlimited: &str) -> String {
    let [soft, hard] = values.map(|value| match value {
        Some(value) => value.to_string(),
        None => unlimited.to_owned(),
    });
    format!("{soft}:{hard}")
}

/// The limits as procd has them. Without the second number of a limit it leaves that of the boot.
pub(super) fn of_procd(input: &UnitInput<'_>) -> Vec<String> {
    let mut limits = Vec::new();
    for (name, values) in &input.limits {
        limits.push(match values {
            [Some(soft), Some(hard)] => format!("{name}='{soft} {hard}'"),
            [Some(soft), None] => format!("{name}={soft}"),
            [None, _] => format!("{name}=unlimited"),
        });
    }
    limits
}

/// The options of supervise-daemon(8) for what is not a limit.
pub(super) fn options_of_openrc(input: &UnitInput<'_>) -> Vec<String> {
    let mut options = Vec::new();
    if let Some(value) = input.daemon.nice {
        options.push(format!("--nicelevel {value}"));
    }
    if let Some(value) = input.daemon.oom_score_adj {
        options.push(format!("--oom-score-adj {value}"));
    }
    options
}

/// The one or the other limit.
#[derive(Clone, Copy)]
pub(super) enum Which {
    Soft,
    Hard,
}

/// The limits that launchd.plist(5) knows, as keys and numbers.
pub(super) fn launchd(input: &UnitInput<'_>, which: Which) -> Vec<(&'static str, u64)> {
    const KEYS: [(&str, &str); 9] = [
        ("core", "Core"),
        ("cpu", "CPU"),
        ("data", "Data"),
        ("fsize", "FileSize"),
        ("memlock", "MemoryLock"),
        ("nofile", "NumberOfFiles"),
        ("nproc", "NumberOfProcesses"),
        ("rss", "ResidentSetSize"),
        ("stack", "Stack"),
    ];
    let mut entries = Vec::new();
    for (name, [of_soft, of_hard]) in &input.limits {
        let key = KEYS.iter().find(|(known, _)| known == name);
        let value = match which {
            Which::Soft => of_soft,
            Which::Hard => of_hard,
        };
        if let (Some((_, key)), Some(value)) = (key, value) {
            entries.push((*key, *value));
        }
    }
    entries
}
