//! Measures the two libraries as a house: circles between modules, arrows that run up, the length
//! of function bodies and files, combinators, and `unsafe` outside of its room. `house` prints a
//! table; `house --check` also fails if a measure is beyond its limit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use proc_macro2::{Delimiter, TokenTree};
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::visit::Visit;

/// From the top of the house to its ground: a module may use those in its own line and below.
const ROOMS: &[&[&str]] = &[
    &["start", "elsewhere"],
    &["cli"],
    &["hooks"],
    &["control"],
    &["service"],
    &["manager"],
    &["steps"],
    &["report"],
    &["daemon"],
    &["error"],
    &["started"],
    &["status"],
    &["step"],
    &["names", "cpus", "limits"],
    &["sys"],
];

/// Chains that hide a branch.
const COMBINATORS: &[&str] = &[
    "and_then",
    "filter",
    "flatten",
    "is_none_or",
    "is_ok_and",
    "is_some_and",
    "map_or",
    "map_or_else",
    "ok_or",
    "ok_or_else",
    "or_else",
    "then",
    "then_some",
    "transpose",
    "unwrap_or",
    "unwrap_or_default",
    "unwrap_or_else",
    "zip",
];

/// One file of a library.
struct Module {
    path: PathBuf,
    /// Its name from the crate's root, as `steps::pidfile`; empty for `lib.rs`.
    name: String,
    lines: usize,
    uses: BTreeSet<String>,
    bodies: Vec<(usize, String)>,
    combinators: usize,
    unsafe_blocks: usize,
}

fn main() -> ExitCode {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are in the workspace");
    let runtime = modules(&workspace.join("daemon-rt/src"));
    let macros = modules(&workspace.join("daemon-macros/src"));
    let both = || runtime.iter().chain(&macros);

    let mut bodies: Vec<_> = both().flat_map(|module| &module.bodies).collect();
    bodies.sort();
    let lines: usize = both().map(|module| module.lines).sum();
    let combinators: usize = both().map(|module| module.combinators).sum();
    let longest = both()
        .max_by_key(|module| module.lines)
        .expect("there are modules");
    let upward = arrows_up(&runtime);
    let elsewhere: usize = runtime
        .iter()
        .filter(|module| !module.name.starts_with("sys"))
        .map(|module| module.unsafe_blocks)
        .sum();

    let (last, p95) = (bodies[bodies.len() - 1], bodies[bodies.len() * 95 / 100]);
    let circle = largest_circle(&runtime);
    let rows = [
        (
            "modules of daemon-rt in the largest circle",
            circle.len(),
            1,
        ),
        ("arrows that run up", upward.len(), 0),
        ("blocks of `unsafe` outside sys", elsewhere, 1),
        ("lines of a function body, 95th percentile", p95.0, 32),
        ("lines of the longest function body", last.0, 60),
        (
            "combinators per 1,000 lines",
            combinators * 1000 / lines,
            15,
        ),
        ("lines of the longest file", longest.lines, 400),
    ];
    for (what, found, limit) in rows {
        println!("{what:<45} {found:>5}  (at most {limit})");
    }
    println!("largest circle: {}", circle.join(", "));
    println!(
        "longest body: {}; longest file: {}",
        last.1,
        longest.path.display()
    );
    for arrow in &upward {
        println!("runs up: {arrow}");
    }
    let beyond = rows.iter().any(|&(_, found, limit)| found > limit);
    ExitCode::from(u8::from(
        beyond && std::env::args().any(|argument| argument == "--check"),
    ))
}

/// The modules below a directory, without tests.
fn modules(source: &Path) -> Vec<Module> {
    let mut files = Vec::new();
    collect(source, &mut files);
    let names: BTreeSet<String> = files.iter().map(|file| name_of(source, file)).collect();
    files
        .iter()
        .map(|file| read(source, file, &names))
        .collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a directory of the sources") {
        let path = entry.expect("an entry").path();
        let only_in_tests = ["tests.rs", "corpus.rs", "fuzz.rs"]
            .iter()
            .any(|name| path.ends_with(name));
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") && !only_in_tests {
            files.push(path);
        }
    }
    files.sort();
}

fn name_of(source: &Path, file: &Path) -> String {
    let path = file
        .strip_prefix(source)
        .expect("a file of the sources")
        .with_extension("");
    let mut parts: Vec<_> = path
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib")) {
        parts.pop();
    }
    parts.join("::")
}

fn read(source: &Path, file: &Path, names: &BTreeSet<String>) -> Module {
    let text = std::fs::read_to_string(file).expect("a source file");
    let mut parsed =
        syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    parsed.items.retain(|item| !is_test(item));
    let name = name_of(source, file);
    let mut found = Found::default();
    found.visit_file(&parsed);
    let tokens = parsed.into_token_stream();
    let mut paths = BTreeSet::new();
    paths_of(&tokens.into_iter().collect::<Vec<_>>(), &name, &mut paths);
    let uses = paths
        .iter()
        .filter_map(|path| module_of(path, names))
        .filter(|used| *used != name)
        .collect();
    let lines = text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.trim().starts_with("//"))
        .count();
    let bodies = found
        .bodies
        .into_iter()
        .map(|(length, function)| (length, format!("{name}::{function}")))
        .collect();
    let (combinators, unsafe_blocks) = (found.combinators, found.unsafe_blocks);
    Module {
        path: file.to_owned(),
        name,
        lines,
        uses,
        bodies,
        combinators,
        unsafe_blocks,
    }
}

fn is_test(item: &syn::Item) -> bool {
    matches!(item, syn::Item::Mod(module) if module.ident == "tests")
}

#[derive(Default)]
struct Found {
    bodies: Vec<(usize, String)>,
    combinators: usize,
    unsafe_blocks: usize,
}

impl Found {
    fn body(&mut self, name: &syn::Ident, block: &syn::Block) {
        let span = block.span();
        // Without the lines of the braces.
        self.bodies.push((
            (span.end().line - span.start().line).saturating_sub(1),
            name.to_string(),
        ));
    }
}

impl<'a> Visit<'a> for Found {
    fn visit_item_fn(&mut self, function: &'a syn::ItemFn) {
        self.body(&function.sig.ident, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'a syn::ImplItemFn) {
        self.body(&function.sig.ident, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        self.combinators += usize::from(COMBINATORS.iter().any(|name| call.method == name));
        syn::visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_unsafe(&mut self, block: &'a syn::ExprUnsafe) {
        self.unsafe_blocks += 1;
        syn::visit::visit_expr_unsafe(self, block);
    }
}

/// Collects the paths that start with `crate` or `super`, groups of `use` unfolded.
fn paths_of(tokens: &[TokenTree], module: &str, paths: &mut BTreeSet<String>) {
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(ident) if ident == "crate" => {
                follow(&tokens[at + 1..], String::new(), paths);
            }
            TokenTree::Ident(ident) if ident == "super" && is_path(&tokens[at + 1..]) => {
                let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
                follow(&tokens[at + 1..], parent.to_owned(), paths);
            }
            TokenTree::Group(group) => paths_of(
                &group.stream().into_iter().collect::<Vec<_>>(),
                module,
                paths,
            ),
            _ => {}
        }
    }
}

/// Follows `::a::b` or `::{…}` after what has been read of a path.
fn follow(tokens: &[TokenTree], mut so_far: String, paths: &mut BTreeSet<String>) {
    let mut rest = tokens;
    while let [TokenTree::Punct(first), TokenTree::Punct(second), next, ..] = rest {
        if (first.as_char(), second.as_char()) != (':', ':') {
            break;
        }
        match next {
            TokenTree::Ident(ident) => so_far = join(&so_far, &ident.to_string()),
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                for part in inner.split(
                    |token| matches!(token, TokenTree::Punct(comma) if comma.as_char() == ','),
                ) {
                    if let Some(TokenTree::Ident(ident)) = part.first() {
                        follow(&part[1..], join(&so_far, &ident.to_string()), paths);
                    }
                }
                return;
            }
            _ => break,
        }
        rest = &rest[3..];
    }
    if !so_far.is_empty() {
        paths.insert(so_far);
    }
}

/// Whether `::` follows: `super` alone is a visibility.
fn is_path(rest: &[TokenTree]) -> bool {
    matches!(rest.first(), Some(TokenTree::Punct(colon)) if colon.as_char() == ':')
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}::{name}")
    }
}

/// The module that a path leads into: the longest beginning of it that is one. `None` for the
/// crate's root.
fn module_of(path: &str, names: &BTreeSet<String>) -> Option<String> {
    let mut path = path;
    loop {
        if names.contains(path) {
            return Some(path.to_owned());
        }
        path = path.rsplit_once("::")?.0;
    }
}

/// The modules of the largest circle: those that reach each other.
fn largest_circle(modules: &[Module]) -> Vec<&str> {
    let direct: BTreeMap<&str, &BTreeSet<String>> =
        modules.iter().map(|m| (m.name.as_str(), &m.uses)).collect();
    let reached: BTreeMap<&str, BTreeSet<&str>> = direct
        .keys()
        .map(|&name| (name, reach(name, &direct)))
        .collect();
    let circle = |name: &str| -> Vec<&str> {
        let others = reached[name].iter().copied();
        others
            .filter(|other| reached[other].contains(name))
            .collect()
    };
    direct
        .keys()
        .map(|name| circle(name))
        .max_by_key(Vec::len)
        .unwrap_or_default()
}

fn reach<'a>(from: &str, direct: &BTreeMap<&'a str, &'a BTreeSet<String>>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<&str> = direct[from].iter().map(String::as_str).collect();
    while let Some(name) = next.pop() {
        match direct.get_key_value(name) {
            Some((&name, uses)) if seen.insert(name) => {
                next.extend(uses.iter().map(String::as_str));
            }
            _ => {}
        }
    }
    seen
}

/// Uses of a higher room by a lower one.
fn arrows_up(modules: &[Module]) -> Vec<String> {
    let floor = |name: &str| {
        let room = name.split("::").next().unwrap_or_default();
        ROOMS.iter().position(|rooms| rooms.contains(&room))
    };
    let mut arrows = Vec::new();
    for module in modules.iter().filter(|module| !module.name.is_empty()) {
        for used in &module.uses {
            match (floor(&module.name), floor(used)) {
                (Some(here), Some(there)) if there >= here => {}
                _ => arrows.push(format!("{} -> {used}", module.name)),
            }
        }
    }
    arrows
}
