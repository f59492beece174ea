//! The header of the function, taken apart and checked.

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::Error;

use crate::args::Args;
use crate::tokens::{self, Angles};

/// The compiler's own attributes. Any other below `#[daemon]` may bring the runtime of an `async fn`.
#[rustfmt::skip]
const BUILT_IN: [&str; 12] = [
    "allow", "clippy", "cold", "deny", "deprecated", "doc", "expect", "forbid", "inline", "must_use", "rustfmt", "warn",
];

/// The attributes that are for who calls the function.
const FOR_CALLERS: [&str; 3] = ["deprecated", "doc", "must_use"];

/// A function in pieces, which stay tokens.
pub(crate) struct Entry {
    /// The attributes that are for its callers: documentation, `deprecated`, `must_use`.
    pub(crate) for_callers: TokenStream,
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
    /// Takes a function apart; another item is an error.
    pub(crate) fn read(item: TokenStream) -> Result<Self, Error> {
        let tokens = tokens::visible(item);
        let (for_callers, attributes, rest) = split_attributes(&tokens);
        let (visibility, rest) = split_visibility(rest);
        let Some(entry) = Self::function(for_callers, attributes, visibility, rest) else {
            let message = "`#[daemon]` belongs on a function";
            return Err(Error::new_spanned(rest.first().or(tokens.last()), message));
        };
        if let Some(receiver) = entry.receiver() {
            let message = "`#[daemon]` belongs on a function without `self`";
            return Err(Error::new_spanned(receiver, message));
        }
        Ok(entry)
    }

    /// The `self` of a method.
    fn receiver(&self) -> Option<TokenTree> {
        for token in self.parameters.first()?.clone() {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => return None,
                token if is_word(&token, "self") => return Some(token),
                _ => {}
            }
        }
        None
    }

    fn function(
        for_callers: TokenStream,
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
        let (output, where_clause) = match rest.iter().position(|token| is_word(token, "where")) {
            Some(at) => rest.split_at(at),
            None => (rest, &[][..]),
        };
        Some(Self {
            for_callers,
            attributes,
            visibility,
            qualifiers: stream(qualifiers),
            name: name.clone(),
            generics: stream(generics),
            parameters: split_parameters(parameters),
            output: stream(output),
            where_clause: stream(where_clause),
            body: body.clone(),
        })
    }

    /// Finds what is wrong with the header, whatever the arguments are.
    pub(crate) fn check(&self, faults: &mut Vec<Error>) {
        for path in self.attribute_paths() {
            if matches!(path.last(), Some(name) if is_word(name, "daemon")) {
                let message = "`#[daemon]` is given twice";
                faults.push(Error::new_spanned(stream(&path), message));
            }
        }
        self.check_qualifiers(faults);
        if let Some(parameter) = self.parameters.first() {
            if self.was_expanded_by_tokio() {
                let message = "`#[tokio::main]` takes no parameter: put it below `#[daemon]`";
                faults.push(Error::new_spanned(parameter, message));
            }
        }
        if !self.generics.is_empty() {
            let message = format!("`{}` cannot be generic", self.name);
            faults.push(Error::new_spanned(&self.generics, message));
        }
        if !self.where_clause.is_empty() {
            let message = format!("`{}` cannot have a `where` clause", self.name);
            faults.push(Error::new_spanned(&self.where_clause, message));
        }
        for parameter in &self.parameters {
            if let Some(word) = find_word(parameter.clone(), "impl") {
                let message = format!(
                    "`{}` cannot be generic: write the type that the last hook returns",
                    self.name
                );
                faults.push(Error::new_spanned(word, message));
            }
        }
    }

    fn check_qualifiers(&self, faults: &mut Vec<Error>) {
        let name = &self.name;
        for word in self.qualifiers.clone() {
            let TokenTree::Ident(word) = word else {
                continue;
            };
            if word != "async" {
                let message = format!("`{name}` cannot be `{word}`: write `fn {name}`");
                faults.push(Error::new_spanned(&word, message));
            } else if !self.has_runtime() {
                let message = format!(
                    "`async fn {name}` needs a runtime: add `#[tokio::main]` below `#[daemon]`"
                );
                faults.push(Error::new_spanned(&word, message));
            }
        }
    }

    /// Finds what is wrong with the header for these arguments.
    pub(crate) fn check_with(&self, args: &Args, faults: &mut Vec<Error>) {
        let name = &self.name;
        if let Some(main_loop) = &args.main_loop {
            if let Some(superfluous) = self.first_superfluous() {
                let message = format!(
                    "with `main_loop`, `{}` runs instead of `{name}`: write `fn {name}() {{}}`",
                    main_loop.argument
                );
                faults.push(Error::new_spanned(superfluous, message));
            }
            return;
        }
        let Some(others) = self.check_ready(args, faults) else {
            return;
        };
        match others {
            [parameter, ..] if args.hooks.is_empty() => {
                let message = "no hook returns a value for this parameter: add `init = f`, where `f` returns it in a `Result`";
                faults.push(Error::new_spanned(parameter, message));
            }
            [_, second, ..] => {
                let message = format!(
                    "`{name}` takes one parameter, the value that the last hook returns: make it a tuple or a struct"
                );
                faults.push(Error::new_spanned(second, message));
            }
            _ => {}
        }
    }

    /// Checks that `Ready` and `defer_ready` go together. Returns the parameters before `Ready`;
    /// `None` if it is not the last.
    fn check_ready(&self, args: &Args, faults: &mut Vec<Error>) -> Option<&[TokenStream]> {
        let Some(position) = self.parameters.iter().position(is_ready) else {
            if let Some(key) = &args.defer_ready {
                let message = format!(
                    "with `defer_ready`, `{}` needs a last parameter `ready: daemon_rt::Ready`",
                    self.name
                );
                faults.push(Error::new_spanned(key, message));
            }
            return Some(&self.parameters);
        };
        let ready = &self.parameters[position];
        if position + 1 < self.parameters.len() {
            let message = "`Ready` must be the last parameter";
            faults.push(Error::new_spanned(ready, message));
            return None;
        }
        if args.defer_ready.is_none() {
            let message =
                "a `Ready` needs the argument `defer_ready`: write `#[daemon(defer_ready)]`";
            faults.push(Error::new_spanned(ready, message));
        }
        Some(&self.parameters[..position])
    }

    /// The first tokens that make this more than an empty function.
    fn first_superfluous(&self) -> Option<TokenStream> {
        let mut pieces = vec![self.qualifiers.clone()];
        pieces.extend(self.parameters.first().cloned());
        pieces.push(self.output.clone());
        if !self.body.stream().is_empty() {
            pieces.push(self.body.to_token_stream());
        }
        pieces.into_iter().find(|piece| !piece.is_empty())
    }

    /// Tells whether `#[tokio::main]` stood above. It complains of a parameter itself, but does not
    /// mention the order.
    fn was_expanded_by_tokio(&self) -> bool {
        let body = self.body.to_string();
        body.contains("(\"Failed building the Runtime\")")
    }

    fn has_runtime(&self) -> bool {
        self.attribute_paths().any(|path| match path.first() {
            Some(name) => !BUILT_IN.contains(&&*name.to_string()),
            None => true,
        })
    }

    fn attribute_paths(&self) -> impl Iterator<Item = Vec<TokenTree>> {
        let attributes = self.attributes.clone().into_iter();
        attributes.filter_map(|token| match token {
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

/// Splits into the attributes for callers, the other attributes, and the rest.
fn split_attributes(mut tokens: &[TokenTree]) -> (TokenStream, TokenStream, &[TokenTree]) {
    let (mut for_callers, mut others) = (TokenStream::new(), TokenStream::new());
    while let [
        hash @ TokenTree::Punct(punct),
        brackets @ TokenTree::Group(group),
        rest @ ..,
    ] = tokens
    {
        if punct.as_char() != '#' {
            break;
        }
        let attributes = match tokens::visible(group.stream()).first() {
            Some(TokenTree::Ident(name)) if FOR_CALLERS.iter().any(|known| name == known) => {
                &mut for_callers
            }
            _ => &mut others,
        };
        attributes.extend([hash.clone(), brackets.clone()]);
        tokens = rest;
    }
    (for_callers, others, tokens)
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

/// Finds where the parameters start.
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

/// Tells whether a parameter's type ends in `Ready`.
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
        token if is_word(&token, word) => Some(token),
        _ => None,
    })
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

fn stream(tokens: &[TokenTree]) -> TokenStream {
    tokens.iter().cloned().collect()
}
