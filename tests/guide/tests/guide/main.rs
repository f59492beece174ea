//! The listings of docs/guide.md are the programs of this package, and its commands and those of
//! docs/understanding.md, docs/testing.md and docs/managers/ do what the pages say.

mod managers;
mod typed;

use std::fs;
use std::path::Path;

use daemon_harness::managers::{Machine, Root, Systemd};
use daemon_harness::require;
use guide::{Page, pages, root};

use self::typed::{assert_typed, typed};

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

/// By a test above, or as an example in the documentation of this package. The old code of others is
/// only to be read.
#[test]
fn every_listing_of_the_other_pages_is_compiled() {
    let compiled = fs::read_to_string(root().join("tests/guide/src/lib.rs")).expect("the library");
    let mut seen = 0;
    for path in pages() {
        let name = path.file_name().expect("a page").to_str().expect("a name");
        if !path.starts_with(root().join("docs")) || name == "guide.md" {
            continue;
        }
        for block in Page::read(&path).blocks {
            if !block.kind.starts_with("rust") || block.text.contains("Daemonize::new()") {
                continue;
            }
            seen += 1;
            let is_compiled = compiled.contains(&format!("docs/{name}\")"));
            assert!(
                is_compiled && !block.kind.contains("ignore"),
                "{name}: {}",
                block.text
            );
        }
    }
    assert!(seen > 10, "{seen}");
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
