//! Seeds of the fuzzing, see `corpus/README.md`.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// The inputs of a file, and what has to come of each.
pub(crate) fn read(file: &str) -> Vec<(Vec<u8>, String)> {
    let text = text(file);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pair = |line: &str| match line.split_once(" => ") {
        Some((input, result)) => (unescape(input), result.to_owned()),
        None => panic!("{line:?} has no ` => `"),
    };
    lines.map(pair).collect()
}

/// A package of the crate is without the files.
fn text(file: &str) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    if directory.exists() {
        fs::read_to_string(directory.join(file)).expect(file)
    } else {
        String::new()
    }
}

/// The bytes that are written as in a byte string.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match (byte, byte == b'\\') {
            (_, true) => match rest.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'0') => 0,
                Some(b'\\') => b'\\',
                Some(b'x') => {
                    let digits: Vec<u8> = rest.by_ref().take(2).collect();
                    let digits = std::str::from_utf8(&digits).expect("digits");
                    u8::from_str_radix(digits, 16).expect("two digits")
                }
                other => panic!("{other:?} after a backslash in {text:?}"),
            },
            (byte, false) => byte,
        });
    }
    bytes
}

/// One of the inputs with some changes.
pub(crate) fn changed(file: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let mut inputs: Vec<Vec<u8>> = read(file).into_iter().map(|(input, _)| input).collect();
    if inputs.is_empty() {
        inputs.push(Vec::new());
    }
    let change = (0..5_u8, any::<Index>(), any::<u8>(), select(inputs.clone()));
    (select(inputs), prop::collection::vec(change, 1..4)).prop_map(|(mut input, changes)| {
        for (kind, at, byte, other) in changes {
            let at = at.index(input.len() + 1);
            match kind {
                0 => input.insert(at, byte),
                1 if at < input.len() => input[at] = byte,
                2 if at < input.len() => drop(input.remove(at)),
                3 => input.truncate(at),
                _ => drop(input.splice(at..at, other)),
            }
        }
        input
    })
}
