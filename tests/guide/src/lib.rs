//! What the pages in docs/ and the README say, as the tests read it.
#![allow(clippy::missing_panics_doc, reason = "a test fails by it")]

/// The listings of these pages, compiled with the tests of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/anywhere.md")]
#[doc = include_str!("../../../docs/async.md")]
#[doc = include_str!("../../../docs/coming-from.md")]
#[doc = include_str!("../../../docs/descriptors.md")]
#[doc = include_str!("../../../docs/logging.md")]
#[doc = include_str!("../../../docs/testing.md")]
struct Listings;

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the repository")
}

/// The pages: README.md and its neighbours, and those of docs/ and docs/managers/.
pub fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for directory in [root(), root().join("docs"), root().join("docs/managers")] {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

/// A code block.
#[derive(Debug)]
pub struct Block {
    /// What stands behind the opening fence: `rust,ignore`.
    pub kind: String,
    /// Its lines.
    pub text: String,
}

/// A page, taken apart.
#[derive(Debug, Default)]
pub struct Page {
    /// The targets of its links: `limits.md#systems`.
    pub links: Vec<String>,
    /// What leads to its headings: `systems`.
    pub anchors: Vec<String>,
    /// Its code blocks, in their order.
    pub blocks: Vec<Block>,
}

impl Page {
    /// Reads the page at this path.
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("a page");
        let mut page = Self::default();
        let mut open = false;
        for line in text.lines() {
            if let Some(kind) = line.strip_prefix("```") {
                open = !open;
                if open {
                    page.blocks.push(Block {
                        kind: kind.to_owned(),
                        text: String::new(),
                    });
                }
            } else if open {
                let block = page.blocks.last_mut().expect("it was opened");
                block.text += line;
                block.text.push('\n');
            } else {
                page.line(line);
            }
        }
        assert!(!open, "{}: a code block has no end", path.display());
        page
    }

    fn line(&mut self, line: &str) {
        if line.starts_with('#') {
            self.anchors
                .push(anchor(line.trim_start_matches('#').trim()));
        }
        // What stands between backticks is no link.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for rest in prose.split("](").skip(1) {
            let (target, _) = rest.split_once(')').expect("the end of a link");
            self.links.push(target.to_owned());
        }
    }
}

/// The anchor that GitHub and mdBook give to a heading.
fn anchor(heading: &str) -> String {
    let mut anchor = String::new();
    for letter in heading.chars() {
        match letter {
            ' ' => anchor.push('-'),
            '-' | '_' => anchor.push(letter),
            letter if letter.is_alphanumeric() => anchor.extend(letter.to_lowercase()),
            _ => {}
        }
    }
    anchor
}
