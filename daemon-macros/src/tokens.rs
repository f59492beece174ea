//! Helpers for tokens. Types, bodies and values are not parsed.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// The `<` that open a list of generic arguments, whose commas separate only these.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Angles {
    /// Every `<`, as in a type.
    Everywhere,
    /// Every `<` without an operand before it, as in an expression.
    AfterOperators,
}

/// Splits at commas. A comma without anything before it is a part itself, so that an error can
/// point at it.
pub(crate) fn split_at_commas(tokens: TokenStream, angles: Angles) -> Vec<Vec<TokenTree>> {
    let mut parts = Vec::new();
    let mut part: Vec<TokenTree> = Vec::new();
    let mut depth = 0_usize;
    let mut closure_parameters = false;
    for token in tokens {
        let mut ends = false;
        if let TokenTree::Punct(punct) = &token {
            let before = part.last();
            match punct.as_char() {
                ',' => ends = depth == 0 && !closure_parameters,
                '<' if depth > 0 || angles == Angles::Everywhere || starts_operand(before) => {
                    depth += 1;
                }
                '>' if !is_arrow(before) => depth = depth.saturating_sub(1),
                '|' if closure_parameters || starts_operand(before) => {
                    closure_parameters = !closure_parameters;
                }
                _ => {}
            }
        }
        if !ends {
            part.push(token);
        } else if part.is_empty() {
            parts.push(vec![token]);
        } else {
            parts.push(std::mem::take(&mut part));
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// Tells whether an operand starts after this token: at the beginning, and after an operator, except
/// those that may be the first half of another or end generic arguments.
fn starts_operand(before: Option<&TokenTree>) -> bool {
    match before {
        None => true,
        Some(TokenTree::Punct(punct)) => !matches!(punct.as_char(), '<' | '>' | '|' | '?'),
        Some(_) => false,
    }
}

/// Tells whether a `>` after this token makes `->` or `=>`.
fn is_arrow(before: Option<&TokenTree>) -> bool {
    match before {
        Some(TokenTree::Punct(punct)) => {
            punct.spacing() == Spacing::Joint && matches!(punct.as_char(), '-' | '=')
        }
        _ => false,
    }
}

/// Takes the tokens out of the invisible group into which `macro_rules!` may have put them.
pub(crate) fn visible(tokens: TokenStream) -> Vec<TokenTree> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    match &tokens[..] {
        [TokenTree::Group(group)] if group.delimiter() == Delimiter::None => {
            visible(group.stream())
        }
        _ => tokens,
    }
}

/// Tells whether this may be the path of a function: names, `::` and generic arguments, no more.
pub(crate) fn is_path(tokens: &[TokenTree]) -> bool {
    let mut depth = 0_usize;
    let mut before: Option<&TokenTree> = None;
    let mut named = false;
    for token in tokens {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '<' => depth += 1,
            TokenTree::Punct(punct) if punct.as_char() == '>' && is_arrow(before) => {}
            TokenTree::Punct(punct) if punct.as_char() == '>' && depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            TokenTree::Ident(_) if matches!(before, Some(TokenTree::Ident(_))) => return false,
            TokenTree::Ident(_) => named = true,
            TokenTree::Punct(punct) if punct.as_char() == ':' => {}
            _ => return false,
        }
        before = Some(token);
    }
    let ends_in_colon = match before {
        Some(TokenTree::Punct(punct)) => punct.as_char() == ':',
        _ => false,
    };
    named && depth == 0 && !ends_in_colon
}

/// Finds the word that a misspelt or shortened one may stand for.
pub(crate) fn nearest(word: &str, words: &[&'static str]) -> Option<&'static str> {
    let mut near = Vec::new();
    for &candidate in words {
        let is_part = word.len() >= 3 && candidate.contains(word);
        let distance = if is_part {
            1
        } else {
            distance(word, candidate)
        };
        if distance * 3 <= candidate.len().max(3) {
            near.push((distance, candidate));
        }
    }
    let (_, nearest) = near.into_iter().min()?;
    Some(nearest)
}

/// Counts the letters to insert, delete or replace (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}
