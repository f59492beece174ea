//! Every link in README.md, in the pages beside it and in docs/ leads to something, and the book of
//! docs/ has every page.

use guide::{Page, pages, root};

#[test]
fn every_relative_link_and_anchor_exists() {
    let mut dead = Vec::new();
    let mut links = 0;
    for path in pages() {
        let page = Page::read(&path);
        for link in &page.links {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            links += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                path.clone()
            } else {
                path.with_file_name(file)
            };
            let found = target.exists()
                && (anchor.is_empty()
                    || Page::read(&target).anchors.iter().any(|own| own == anchor));
            if !found {
                dead.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(links > 50, "only {links} links were seen");
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

/// mdBook makes `.html` of `.md`, which is only there for its own pages.
#[test]
fn the_book_links_to_no_page_outside_of_it() {
    let docs = root().join("docs");
    for path in pages() {
        if !path.starts_with(&docs) {
            continue;
        }
        for link in &Page::read(&path).links {
            let (file, _) = link.split_once('#').unwrap_or((link, ""));
            let target = path.with_file_name(file);
            if let Ok(target) = target.canonicalize() {
                let is_page = target
                    .extension()
                    .is_some_and(|extension| extension == "md");
                let is_inside = target.starts_with(&docs);
                assert!(is_inside || !is_page, "{}: {link}", path.display());
            }
        }
    }
}

#[test]
fn the_book_has_every_page() {
    let docs = root().join("docs");
    let summary = Page::read(&docs.join("SUMMARY.md"));
    for page in pages() {
        if let Ok(name) = page.strip_prefix(&docs) {
            let name = name.to_str().expect("a name");
            assert!(
                name == "SUMMARY.md" || summary.links.iter().any(|link| link == name),
                "docs/SUMMARY.md lacks {name}"
            );
        }
    }
}
