//! The commands of a page, typed in a machine.

use daemon_harness::managers::Machine;

/// A command, and what the page says that it says.
pub(crate) struct Typed<'p> {
    command: &'p str,
    says: String,
}

pub(crate) fn typed(text: &str) -> Vec<Typed<'_>> {
    let mut all: Vec<Typed<'_>> = Vec::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            let says = String::new();
            all.push(Typed { command, says });
        } else {
            let last = all.last_mut().expect("a command comes first");
            last.says += line;
            last.says.push('\n');
        }
    }
    all
}

/// Compares a text with a pattern, in which `…` stands for anything within a line, and alone on a
/// line for any lines.
fn matches(pattern: &[&str], said: &[&str]) -> bool {
    match (pattern.split_first(), said.split_first()) {
        (None, None) => true,
        (Some((&"…", rest)), _) => (0..=said.len()).any(|lines| matches(rest, &said[lines..])),
        (Some((line, rest)), Some((other, others))) => {
            line_matches(line, other) && matches(rest, others)
        }
        _ => false,
    }
}

fn line_matches(pattern: &str, line: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once('…') else {
        return pattern == line;
    };
    let Some(mut line) = line.strip_prefix(begin) else {
        return false;
    };
    let mut pieces: Vec<_> = rest.split('…').collect();
    let end = pieces.pop().expect("at least one");
    for piece in pieces {
        let Some((_, behind)) = line.split_once(piece) else {
            return false;
        };
        line = behind;
    }
    line.ends_with(end)
}

/// Types the commands, in a machine and nowhere else.
pub(crate) fn assert_typed(machine: &Machine, commands: &[Typed<'_>]) {
    let mut wrong = Vec::new();
    for Typed { command, says } in commands {
        let ran = machine.sh(&format!("exec 2>&1; cd /tmp\n{command}"));
        let (pattern, said): (Vec<_>, Vec<_>) =
            (says.lines().collect(), ran.stdout.lines().collect());
        if !matches(&pattern, &said) {
            let said = ran.stdout;
            wrong.push(format!("$ {command}\n{said}--- the page says\n{says}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
