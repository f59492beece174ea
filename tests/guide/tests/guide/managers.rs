//! The pages of docs/managers/: their files are those that the tests run, and their commands are
//! typed under the real manager.

use std::fs;
use std::path::{Path, PathBuf};

use daemon_harness::managers::{
    Dinit, Machine, OpenRc, PLAIN_INIT, Pid1, Root, Runit, S6, Shim, Supervisord, Systemd,
};
use daemon_harness::require;
use guide::{Page, pages, root};

use super::page;
use super::typed::{assert_typed, typed};

/// The files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files
}

#[test]
fn every_file_is_one_of_the_examples() {
    let mut examples = Vec::new();
    for path in files(&root().join("examples/managers")) {
        examples.push(fs::read_to_string(path).expect("a text"));
    }
    let mut shown = 0;
    for path in pages() {
        if !path
            .parent()
            .expect("a directory")
            .ends_with("docs/managers")
        {
            continue;
        }
        for block in Page::read(&path).blocks {
            if block.kind == "console" {
                continue;
            }
            shown += 1;
            let text = block.text;
            assert!(examples.contains(&text), "{}: {text}", path.display());
        }
    }
    assert!(shown > 8, "{shown}");
}

/// The service of the guide's first chapter, on a system without logs and with none of these
/// directories.
fn hello(empty: &[&str]) -> Root {
    let mut root = Root::new()
        .copy("/usr/local/bin/hello", env!("CARGO_BIN_EXE_hello_zero"))
        .empty("/var/log");
    for directory in empty {
        root = root.empty(directory);
    }
    root
}

fn assert_page(name: &str, machine: &Machine) {
    let page = page(&format!("managers/{name}.md"));
    let blocks = page.blocks.iter().filter(|block| block.kind == "console");
    let commands: Vec<_> = blocks.flat_map(|block| typed(&block.text)).collect();
    assert!(commands.len() > 2);
    assert_typed(machine, &commands);
}

#[test]
fn systemd_is_as_its_page_says() {
    require!(machine(), tool("systemd-analyze"), tool("curl"));
    assert_page("systemd", &Systemd::boot(hello(&[])));
}

#[test]
fn s6_is_as_its_page_says() {
    require!(machine(), tool("s6-svscan"), tool("curl"));
    assert_page("s6", &S6::boot(hello(&["/run/service", "/etc/s6/sv"])));
}

#[test]
fn openrc_is_as_its_page_says() {
    require!(machine(), tool("openrc-init"), tool("curl"));
    assert_page("openrc", &OpenRc::boot(hello(&[])));
}

#[test]
fn runit_is_as_its_page_says() {
    require!(machine(), tool("runsvdir"), tool("curl"));
    assert_page("runit", &Runit::boot(hello(&["/etc/sv"])));
}

#[test]
fn dinit_is_as_its_page_says() {
    let dinit = Dinit::is_there();
    require!(
        machine(),
        tool("curl"),
        that(dinit, "needs dinit, which Debian has no package of")
    );
    let root = Dinit::root(hello(&[]))
        .text(
            "/etc/dinit.d/boot",
            "type = internal\nwaits-for.d: boot.d\n",
        )
        .empty("/etc/dinit.d/boot.d");
    assert_page("dinit", &Dinit::boot(root));
}

#[test]
fn supervisord_is_as_its_page_says() {
    require!(machine(), tool("supervisord"), tool("curl"));
    assert_page("supervisord", &Supervisord::boot(hello(&[])));
}

#[test]
fn system_v_is_as_its_page_says() {
    require!(machine(), tool("update-rc.d"), tool("curl"));
    let root = hello(&[]).copy("/opt/init", "/bin/bash");
    let init = ["/opt/init", "-c", PLAIN_INIT];
    assert_page("sysv", &Machine::boot_with(root, init));
}

#[test]
fn a_container_is_as_its_page_says() {
    require!(machine(), tool("curl"));
    let container = Pid1::boot(hello(&[]), Shim::None, ["/usr/local/bin/hello"]);
    assert_page("container", &container);
}
