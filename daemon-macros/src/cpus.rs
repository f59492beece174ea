//! A list of processors as text, which both the attribute and the runtime read: in daemon-rt this file
//! is a symbolic link, in whose place `cargo package` puts the file.

/// More of them no mask of sched_setaffinity(2) in the C library has.
const MOST: usize = 1024;

/// Reads a list such as `0-3,8`.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn read(text: &str) -> Result<Vec<usize>, String> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return Err(format!("the range `{part}` is empty"));
        }
        cpus.extend(first..=last);
    }
    Ok(cpus)
}

fn number(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number < MOST => Ok(number),
        Ok(_) => Err(format!(
            "there is no processor {text}: the last one is {}",
            MOST - 1
        )),
        Err(_) => Err(format!(
            "`{text}` is no processor: a list looks like `0-3,8`"
        )),
    }
}
