//! Resource limits as text, which both the attribute and the runtime read: in daemon-rt this file is
//! a symbolic link, in whose place `cargo package` puts the file.

/// The resources by their names in prlimit(1).
pub(crate) const RESOURCES: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// The soft and the hard limit; `None` is no limit.
pub(crate) type SoftAndHard = [Option<u64>; 2];

/// Reads `NAME=BOTH` or `NAME=SOFT:HARD`, each a number or `unlimited`.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn read(text: &str) -> Result<(&'static str, SoftAndHard), String> {
    let Some((name, values)) = text.split_once('=') else {
        return Err(format!("`{text}` is no limit, such as `nofile=1024:65536`"));
    };
    let Some(name) = RESOURCES.iter().find(|known| **known == name) else {
        let names = RESOURCES.join("`, `");
        return Err(format!("no resource `{name}`: the resources are `{names}`"));
    };
    let (soft, hard) = match values.split_once(':') {
        Some(two) => two,
        None => (values, values),
    };
    let limits = [value(soft)?, value(hard)?];
    let [soft, hard] = limits.map(|limit| limit.unwrap_or(u64::MAX));
    if soft > hard {
        return Err(format!("the soft limit of `{name}` is above the hard one"));
    }
    Ok((name, limits))
}

fn value(text: &str) -> Result<Option<u64>, String> {
    if text == "unlimited" {
        return Ok(None);
    }
    match text.parse() {
        Ok(value) if value < u64::MAX => Ok(Some(value)),
        _ => Err(format!("`{text}` is neither a number nor `unlimited`")),
    }
}
