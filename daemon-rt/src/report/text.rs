//! Texts as they are reported: printable, and of limited length.

use std::borrow::Cow;

/// Escapes the characters of a text that affect a terminal, except line breaks and tabs: `\u{1b}`.
/// A service without privileges must not control the terminal of an administrator.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let is_escaped = |c: char| is_unprintable(c) && !matches!(c, '\n' | '\t');
    if !text.contains(is_escaped) {
        return text.into();
    }
    let mut printable = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_escaped(c) {
            printable.extend(c.escape_debug());
        } else {
            printable.push(c);
        }
    }
    printable.into()
}

/// Whether a character has an effect instead of a shape: a control character, one that changes the
/// direction of writing, or a line separator.
pub(crate) fn is_unprintable(c: char) -> bool {
    let is_bidi = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || is_bidi || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Cuts a text to at most `longest` bytes, with a mark at the cut.
pub(crate) fn cut(text: &str, longest: usize) -> Cow<'_, str> {
    if text.len() <= longest {
        return text.into();
    }
    let mark = format!("… [cut at {longest} bytes]");
    let end = char_boundary(text, longest - mark.len());
    format!("{}{mark}", &text[..end]).into()
}

/// Makes one line of at most `longest` bytes of a text: what is unprintable becomes spaces.
pub(crate) fn one_line(text: &str, longest: usize) -> String {
    cut(text, longest).replace(is_unprintable, " ")
}

/// Returns the last boundary of a character that is not behind `at`.
pub(super) fn char_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
