//! s6-rc: a source definition directory, and its name in the bundle `default`. There is one usual
//! place of sources and database, and distributions with others.

use std::io;
use std::path::Path;

use super::compile::{COMPILED, SOURCE};
use super::layout::{Boot, Layout, words};

pub(super) fn layout(name: &str) -> io::Result<Layout> {
    let source = Path::new(SOURCE);
    let bundle = source.join("default/contents.d");
    if !bundle.is_dir() || !Path::new(COMPILED).is_symlink() {
        return Err(io::Error::other(format!(
            "it needs a bundle {} and a link {COMPILED}: add the sources that `unit s6-rc` prints to those of this system, or run `install s6`",
            bundle.display()
        )));
    }
    let change = |direction| words(&["s6-rc", "-t", "150000", direction, "change", name]);
    Ok(Layout {
        name: name.to_owned(),
        directory: source.into(),
        file: format!("{name}/run"),
        packaged: Vec::new(),
        boot: Boot::Bundle {
            member: bundle.join(name),
        },
        units: None,
        reload: Vec::new(),
        start: vec![change("-u")],
        stop: vec![change("-d")],
        forget: Vec::new(),
    })
}
