//! The listings of docs/guide.md are the programs of this package, and its commands and those of
//! docs/understanding.md and docs/testing.md do what the pages say.

use std::fs;
use std::path::Path;

use daemon_harness::managers::{Machine, Root, Systemd};
use daemon_harness::require;
use guide::{Page, root};

fn page(name: &str) -> Page {
    Page::read(&root().join("docs").join(name))
}

fn program(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/bin")
        .join(path);
    fs::read_to_string(path).expect("a program")
}

#[test]
fn every_listing_is_from_a_program() {
    let (zero, hello) = (program("hello_zero.rs"), program("hello/main.rs"));
    let guide = page("guide.md");
    let listings: Vec<_> = guide
        .blocks
        .iter()
        .filter(|block| block.kind.starts_with("rust"))
        .collect();
    assert!(listings.len() > 5);
    assert!(zero.ends_with(&listings[0].text), "{}", listings[0].text);
    for listing in &listings[1..] {
        // A block may have several pieces, with an empty line between.
        let whole = hello.contains(&listing.text);
        let pieces = || {
            listing
                .text
                .split("\n\n")
                .all(|piece| hello.contains(piece))
        };
        assert!(whole || pieces(), "{}", listing.text);
    }
}

/// A command, and what the page says that it says.
struct Typed<'p> {
    command: &'p str,
    says: String,
}

fn typed(text: &str) -> Vec<Typed<'_>> {
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
fn assert_typed(machine: &Machine, commands: &[Typed<'_>]) {
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

#[test]
fn every_command_of_the_guide_does_what_it_says() {
    require!(
        machine(),
        tool("systemd-analyze"),
        tool("curl"),
        tool("python3")
    );
    let root = Root::new()
        .copy("/opt/hello_zero", env!("CARGO_BIN_EXE_hello_zero"))
        .copy("/opt/hello", env!("CARGO_BIN_EXE_hello"))
        .empty("/var/log")
        .empty("/var/lib/hello");
    let machine = Systemd::boot(root);
    let guide = page("guide.md");
    let mut blocks = guide.blocks.iter().filter(|block| block.kind == "console");
    let zero = blocks.by_ref().take(2);
    let zero: Vec<_> = zero.flat_map(|block| typed(&block.text)).collect();
    let hello: Vec<_> = blocks.flat_map(|block| typed(&block.text)).collect();
    assert!(zero.len() > 5 && hello.len() > 20);
    machine
        .sh("cp /opt/hello_zero /usr/local/bin/hello")
        .expect_success();
    assert_typed(&machine, &zero);
    let testing = page("testing.md");
    for block in &testing.blocks {
        if block.kind == "console" {
            assert_typed(&machine, &typed(&block.text));
        }
    }
    machine
        .sh("rm /var/log/hello.log; cp /opt/hello /usr/local/bin/hello")
        .expect_success();
    assert_typed(&machine, &hello);
}

#[test]
fn every_step_is_shown_by_what_goes_wrong_without_it() {
    require!(machine(), tool("python3"), tool("script"));
    let machine = Machine::boot(Root::new());
    let steps = page("understanding.md");
    let blocks = steps.blocks.iter().filter(|block| block.kind == "console");
    let commands: Vec<_> = blocks.flat_map(|block| typed(&block.text)).collect();
    assert!(commands.len() > 14);
    assert_typed(&machine, &commands);
}
