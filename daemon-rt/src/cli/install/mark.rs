//! The line by which a file is known as written by this library. It names all files that were
//! written, and has a checksum of them: it fits as long as none was changed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::change::named;
use crate::cli::unit::ServiceFile;

const BEGINNING: &str = "# Written by `";

/// What is found where the files are to be.
pub(super) enum Found {
    Nothing,
    /// As this library wrote it.
    Untouched {
        /// All files, as paths below the directory.
        files: Vec<String>,
        /// The text of the first, with the mark.
        text: String,
    },
    /// Another's, or changed by another.
    Changed(PathBuf),
}

/// Adds the mark to the first of the files.
pub(super) fn add(name: &str, files: &mut [ServiceFile]) {
    let texts: Vec<_> = files.iter().map(|file| file.text.as_str()).collect();
    let sum = checksum(&texts);
    let paths: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
    let mark = format!(
        "{BEGINNING}{name} install`, which leaves it alone once it was changed: {} {sum:016x}\n",
        paths.join(" ")
    );
    let text = &mut files[0].text;
    text.insert_str(end_of_interpreter(text), &mark);
}

/// Looks for the files of which this is the first.
pub(super) fn find(directory: &Path, first: &str) -> io::Result<Found> {
    let path = directory.join(first);
    match path.symlink_metadata() {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Ok(Found::Changed(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(named(&path, &error)),
    }
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => return Err(named(&path, &error)),
    };
    let Ok(text) = String::from_utf8(bytes) else {
        return Ok(Found::Changed(path));
    };
    let Some((files, sum, rest)) = read(&text) else {
        return Ok(Found::Changed(path));
    };
    let mut texts = vec![rest];
    for file in files.iter().skip(1) {
        let path = directory.join(file);
        match fs::read_to_string(&path) {
            Ok(text) => texts.push(text),
            Err(_) => return Ok(Found::Changed(path)),
        }
    }
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    if checksum(&texts) != sum {
        return Ok(Found::Changed(path));
    }
    Ok(Found::Untouched { files, text })
}

/// The text without its mark.
pub(super) fn without(text: &str) -> String {
    match read(text) {
        Some((_, _, rest)) => rest,
        None => text.to_owned(),
    }
}

/// Reads the mark: the files, their checksum, and the text without it.
fn read(text: &str) -> Option<(Vec<String>, u64, String)> {
    let (before, rest) = text.split_at(end_of_interpreter(text));
    let (mark, after) = rest.split_once('\n')?;
    let (_, list) = mark.strip_prefix(BEGINNING)?.rsplit_once(": ")?;
    let (files, sum) = list.rsplit_once(' ')?;
    let files = files.split(' ').map(str::to_owned).collect();
    let sum = u64::from_str_radix(sum, 16).ok()?;
    Some((files, sum, format!("{before}{after}")))
}

/// The end of the line `#!INTERPRETER`, which must stay the first.
fn end_of_interpreter(text: &str) -> usize {
    match text.find('\n') {
        Some(end) if text.starts_with("#!") => end + 1,
        _ => 0,
    }
}

/// The error for a file that is another's.
pub(super) fn kept(path: &Path, verb: &str) -> io::Error {
    io::Error::other(format!(
        "{}: it was changed, or not written by `install`, and is not {verb}: move it away first, or go on with it by the manager's own commands",
        path.display()
    ))
}

/// FNV-1a. It tells a change, not a forger.
fn checksum(texts: &[&str]) -> u64 {
    let mut sum: u64 = 0xcbf2_9ce4_8422_2325;
    for text in texts {
        // No text has this byte: it tells where one ends.
        for byte in text.bytes().chain([0xff]) {
            sum = (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    sum
}
