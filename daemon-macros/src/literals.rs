//! The checks of single literals: each returns the message that says what is wrong.

use syn::LitInt;

use crate::names::{CAPABILITIES, NEVER_KEPT};
use crate::tokens;
use crate::values::Checked;

pub(crate) fn name(name: &str) -> Checked {
    if name.is_empty() {
        Err("the name must not be empty".to_owned())
    } else if name.contains(['/', '\0', '\n']) {
        Err(
            "the name must not contain `/`, a newline or a NUL byte: it becomes part of paths"
                .to_owned(),
        )
    } else {
        Ok(())
    }
}

pub(crate) fn umask(mask: &LitInt) -> Checked {
    const OUT_OF_RANGE: &str = "a umask must be at most `0o777`";
    let written = mask.to_string();
    let digits = written.trim_end_matches(mask.suffix()).replace('_', "");
    let Ok(number) = mask.base10_parse::<u32>() else {
        return Err(OUT_OF_RANGE.to_owned());
    };
    let decimal = digits.bytes().all(|digit| digit.is_ascii_digit());
    if decimal && number > 7 {
        return match u32::from_str_radix(&digits, 8) {
            Ok(octal) if octal <= 0o777 => Err(format!("a umask is octal: write `0o{octal:03o}`")),
            _ => Err("a umask is octal, at most `0o777`: write `0o022`, for example".to_owned()),
        };
    }
    if number > 0o777 {
        return Err(OUT_OF_RANGE.to_owned());
    }
    Ok(())
}

pub(crate) fn variable(name: &str) -> Checked {
    let stem = name.strip_suffix('*').unwrap_or(name);
    if name.is_empty() {
        Err("the name must not be empty".to_owned())
    } else if stem.contains(['=', '\0']) {
        Err("the name must not contain `=` or a NUL byte".to_owned())
    } else if stem.contains('*') {
        Err("`*` can stand only at the end of a name".to_owned())
    } else {
        Ok(())
    }
}

pub(crate) fn descriptor(fd: &LitInt) -> Checked {
    match fd.base10_parse::<i32>() {
        Ok(0..=2) => {
            Err("0, 1 and 2 are the standard streams: use `stdout` and `stderr`".to_owned())
        }
        Ok(_) if matches!(fd.suffix(), "" | "i32") => Ok(()),
        _ => Err("a descriptor must be a number from 3 to 2147483647".to_owned()),
    }
}

/// Reads `30s`, `500ms` or `2m`.
pub(crate) fn milliseconds(text: &str) -> Option<u64> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = text[..text.len() - unit.len()].parse().ok()?;
    match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        _ => None,
    }
}

/// Reads `500K`, `10M`, `1G` or a number of bytes.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = text[..text.len() - unit.len()].parse().ok()?;
    let factor = match unit {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

pub(crate) fn capability(name: &str) -> Checked {
    if NEVER_KEPT.contains(&name) {
        return Err(format!(
            "`{name}` cannot be kept: with it the service could become root again"
        ));
    }
    if CAPABILITIES.contains(&name) {
        return Ok(());
    }
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("CAP_") {
        upper
    } else {
        format!("CAP_{upper}")
    };
    Err(match tokens::nearest(&full, &CAPABILITIES) {
        Some(near) => format!("unknown capability `{name}`: did you mean `{near}`?"),
        None => format!("unknown capability `{name}`: see the list in capabilities(7)"),
    })
}
