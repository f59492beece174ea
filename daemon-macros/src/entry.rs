//! The header of `fn main`: what it may and may not be.

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::Error;

use crate::args::Args;
use crate::tokens::{self, Angles};

/// The compiler's own attributes. Any other below `#[daemon]` may bring the runtime of an `async fn
/// main`.
#[rustfmt::skip]
const BUILT_IN: [&str; 12] = [
    "allow", "clippy", "cold", "deny", "deprecated", "doc", "expect", "forbid", "inline", "must_use", "rustfmt", "warn",
];

/// A function in pieces, which stay tokens.
pub(crate) struct Entry {
    pub(crate) docs: TokenStream,
    /// The other attributes.
    pub(crate) attributes: TokenStream,
    pub(crate) visibility: TokenStream,
    /// `const`, `async`, `unsafe`, `extern "C"`.
    pub(crate) qualifiers: TokenStream,
    pub(crate) name: Ident,
    pub(crate) generics: TokenStream,
    pub(crate) parameters: Vec<TokenStream>,
    /// `-> T`.
    pub(crate) output: TokenStream,
    pub(crate) where_clause: TokenStream,
    pub(crate) body: Group,
}

impl Entry {
    /// Takes `fn main` apart; another item is an error.
    pub(crate) fn read(item: TokenStream) -> Result<Self, Error> {
        let tokens = tokens::visible(item);
        let (docs, attributes, rest) = split_attributes(&tokens);
        let (visibility, rest) = split_visibility(rest);
        let Some(entry) = Self::function(docs, attributes, visibility, rest) else {
            let message = "`#[daemon]` belongs on `fn main`, and this is no function";
            return Err(Error::new_spanned(rest.first().or(tokens.last()), message));
        };
        if entry.name != "main" {
            return Err(Error::new_spanned(
                entry.name,
                "`#[daemon]` belongs on `fn main` alone",
            ));
        }
        Ok(entry)
    }

    fn function(
        docs: TokenStream,
        attributes: TokenStream,
        visibility: TokenStream,
        tokens: &[TokenTree],
    ) -> Option<Self> {
        let keyword = tokens.iter().position(|token| is_word(token, "fn"))?;
        let (qualifiers, rest) = tokens.split_at(keyword);
        let [_, TokenTree::Ident(name), rest @ ..] = rest else {
            return None;
        };
        let (generics, rest) = rest.split_at(end_of_generics(rest));
        let [TokenTree::Group(parameters), rest @ .., body] = rest else {
            return None;
        };
        let [TokenTree::Group(body)] = &tokens::visible(body.to_token_stream())[..] else {
            return None;
        };
        let where_clause = rest
            .iter()
            .position(|token| is_word(token, "where"))
            .unwrap_or(rest.len());
        Some(Self {
            docs,
            attributes,
            visibility,
            qualifiers: stream(qualifiers),
            name: name.clone(),
            generics: stream(generics),
            parameters: split_parameters(parameters),
            output: stream(&rest[..where_clause]),
            where_clause: stream(&rest[where_clause..]),
            body: body.clone(),
        })
    }

    /// What is wrong with the header, whatever the arguments are.
    pub(crate) fn check(&self, faults: &mut Vec<Error>) {
        for path in self.attribute_paths() {
            if path.last().is_some_and(|name| is_word(name, "daemon")) {
                faults.push(Error::new_spanned(
                    stream(&path),
                    "`#[daemon]` stands here twice",
                ));
            }
        }
        for word in self.qualifiers.clone() {
            let TokenTree::Ident(word) = word else {
                continue;
            };
            if word != "async" {
                faults.push(Error::new_spanned(
                    &word,
                    format!("`main` cannot be `{word}`: write `fn main`"),
                ));
            } else if !self.has_runtime() {
                faults.push(Error::new_spanned(
                    &word,
                    "`async fn main` needs a runtime: add `#[tokio::main]` below `#[daemon]`; \
                     if it stands above, swap the two",
                ));
            }
        }
        if let (Some(parameter), true) = (self.parameters.first(), self.was_expanded_by_tokio()) {
            let message = "`#[tokio::main]` takes no parameter, `#[daemon]` does: swap the two";
            faults.push(Error::new_spanned(parameter, message));
        }
        for generics in [&self.generics, &self.where_clause] {
            if !generics.is_empty() {
                faults.push(Error::new_spanned(
                    generics,
                    "`main` cannot be generic: nothing calls it with a type",
                ));
            }
        }
        for parameter in &self.parameters {
            if let Some(word) = find_word(parameter.clone(), "impl") {
                let message =
                    "`main` cannot be generic: write the type that the hook before it returns";
                faults.push(Error::new_spanned(word, message));
            }
        }
    }

    /// What is wrong with the header for these arguments.
    pub(crate) fn check_with(&self, args: &Args, faults: &mut Vec<Error>) {
        if let Some(main_loop) = &args.main_loop {
            if !self.is_empty() {
                let message = format!(
                    "with `main_loop` it is `{}` that runs: write `fn main() {{}}`",
                    main_loop.argument
                );
                faults.push(Error::new_spanned(self.first_superfluous(), message));
            }
            return;
        }
        let ready = self.parameters.iter().position(is_ready);
        let state = match ready {
            Some(position) if position + 1 < self.parameters.len() => {
                let message = "`Ready` is the last parameter: swap the two";
                faults.push(Error::new_spanned(&self.parameters[position], message));
                return;
            }
            Some(position) => &self.parameters[..position],
            None => &self.parameters[..],
        };
        match (ready, &args.defer_ready) {
            (None, Some(key)) => {
                let message = "`main` must say when it is ready: give it a last parameter `ready: daemon_rt::Ready`";
                faults.push(Error::new_spanned(key, message));
            }
            (Some(position), None) => {
                let message =
                    "for a `Ready` add the argument `defer_ready`: `#[daemon(defer_ready)]`";
                faults.push(Error::new_spanned(&self.parameters[position], message));
            }
            _ => {}
        }
        match state {
            [parameter, ..] if args.hooks.is_empty() => {
                let message = "no hook gives `main` this parameter: add `init = f`, where `f` returns it in a `Result`";
                faults.push(Error::new_spanned(parameter, message));
            }
            [_, second, ..] => {
                let message = "`main` takes one parameter, what the last hook returns: make it a tuple or a struct";
                faults.push(Error::new_spanned(second, message));
            }
            _ => {}
        }
    }

    /// Whether this is `fn main() {}`.
    fn is_empty(&self) -> bool {
        self.first_superfluous().is_empty()
    }

    /// What keeps this from being `fn main() {}`.
    fn first_superfluous(&self) -> TokenStream {
        let body = if self.body.stream().is_empty() {
            TokenStream::new()
        } else {
            self.body.to_token_stream()
        };
        let parameter = self.parameters.first().cloned().unwrap_or_default();
        let pieces = [
            self.qualifiers.clone(),
            parameter,
            self.output.clone(),
            body,
        ];
        pieces
            .into_iter()
            .find(|piece| !piece.is_empty())
            .unwrap_or_default()
    }

    /// Whether `#[tokio::main]` stood above. It complains of a parameter itself, but without a word
    /// of the order.
    fn was_expanded_by_tokio(&self) -> bool {
        self.body
            .to_string()
            .contains("(\"Failed building the Runtime\")")
    }

    fn has_runtime(&self) -> bool {
        self.attribute_paths().any(|path| {
            !path
                .first()
                .is_some_and(|name| BUILT_IN.contains(&&*name.to_string()))
        })
    }

    fn attribute_paths(&self) -> impl Iterator<Item = Vec<TokenTree>> {
        self.attributes
            .clone()
            .into_iter()
            .filter_map(|token| match token {
                TokenTree::Group(attribute) => Some(path(&tokens::visible(attribute.stream()))),
                _ => None,
            })
    }
}

/// The path with which an attribute starts.
fn path(attribute: &[TokenTree]) -> Vec<TokenTree> {
    let is_of_path = |token: &&TokenTree| match token {
        TokenTree::Ident(_) => true,
        TokenTree::Punct(punct) => punct.as_char() == ':',
        _ => false,
    };
    attribute.iter().take_while(is_of_path).cloned().collect()
}

/// The documentation, the other attributes, and what comes after them.
fn split_attributes(mut tokens: &[TokenTree]) -> (TokenStream, TokenStream, &[TokenTree]) {
    let (mut docs, mut others) = (TokenStream::new(), TokenStream::new());
    while let [
        hash @ TokenTree::Punct(punct),
        brackets @ TokenTree::Group(group),
        rest @ ..,
    ] = tokens
    {
        if punct.as_char() != '#' {
            break;
        }
        let is_doc = tokens::visible(group.stream())
            .first()
            .is_some_and(|name| is_word(name, "doc"));
        let attributes = if is_doc { &mut docs } else { &mut others };
        attributes.extend([hash.clone(), brackets.clone()]);
        tokens = rest;
    }
    (docs, others, tokens)
}

fn split_visibility(tokens: &[TokenTree]) -> (TokenStream, &[TokenTree]) {
    let length = match tokens {
        [TokenTree::Group(group), ..] if group.delimiter() == Delimiter::None => 1,
        [word, TokenTree::Group(_), ..] if is_word(word, "pub") => 2,
        [word, ..] if is_word(word, "pub") => 1,
        _ => 0,
    };
    let (visibility, rest) = tokens.split_at(length);
    (stream(visibility), rest)
}

/// Where the parameters start.
fn end_of_generics(tokens: &[TokenTree]) -> usize {
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '<' => depth += 1,
            TokenTree::Punct(punct) if punct.as_char() == '>' => depth = depth.saturating_sub(1),
            TokenTree::Group(_) if depth == 0 => return i,
            _ => {}
        }
    }
    tokens.len()
}

fn split_parameters(parentheses: &Group) -> Vec<TokenStream> {
    let parameters = tokens::split_at_commas(parentheses.stream(), Angles::Everywhere);
    parameters.into_iter().map(TokenStream::from_iter).collect()
}

/// Whether a parameter's type ends in `Ready`.
fn is_ready(parameter: &TokenStream) -> bool {
    match parameter.clone().into_iter().last() {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::None => {
            is_ready(&group.stream())
        }
        Some(last) => is_word(&last, "Ready"),
        None => false,
    }
}

fn find_word(tokens: TokenStream, word: &str) -> Option<TokenTree> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Group(group) => find_word(group.stream(), word),
        token => is_word(&token, word).then_some(token),
    })
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

fn stream(tokens: &[TokenTree]) -> TokenStream {
    tokens.iter().cloned().collect()
}
