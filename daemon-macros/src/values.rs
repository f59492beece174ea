//! The values of the arguments. Literals are checked here, expressions are left to the type checker.

use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens as _, quote};
use syn::{Error, Lit, LitInt, LitStr, Result};

use crate::args::{Arg, Call};
use crate::literals::{bytes, capability, descriptor, milliseconds, name, umask, variable};
use crate::message;
use crate::names::MODES;
use crate::tokens::{self, Angles};
use crate::{cpus, limits};

/// The outcomes of a start that finds the service running: each with its text and its variant of
/// `AlreadyRunning`.
const ALREADY_RUNNING: [(&str, &str); 2] = [("fail", "Fail"), ("wait", "Wait")];

/// The files that have a usual place: where the argument has no value, the file is there.
const HAVE_USUAL_PLACE: [&str; 3] = ["pidfile", "stdout", "stderr"];

/// The properties of the process that can be kept as the caller has them, by the value `"keep"`.
const CAN_BE_KEPT: [&str; 2] = ["working_directory", "umask"];

/// The kind of value that an argument takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Hook,
    /// A hook, or a message.
    LastWord,
    /// No value.
    Bare,
    /// No value either; the call has one.
    Cli,
    Name,
    Path,
    Log,
    Size,
    Count,
    Account,
    Accounts,
    Umask,
    Variables,
    Names,
    Descriptors,
    Limits,
    Nice,
    OomScore,
    Cpus,
    Capabilities,
    Flag,
    Timeout,
    Mode,
    AlreadyRunning,
    Root,
}

/// A checked value, or the message that says what is wrong with it.
pub(crate) type Checked<T = ()> = std::result::Result<T, String>;

impl Arg {
    /// Returns the call of the builder that the argument stands for.
    pub(crate) fn check(&self, root: &TokenStream) -> Result<Call> {
        let Some(value) = &self.value else {
            return self.bare();
        };
        one_value(value)?;
        if self.is_kept(value) {
            return Ok(Call {
                method: Ident::new(&format!("keep_{}", self.key), self.key.span()),
                argument: TokenStream::new(),
            });
        }
        let checked = match self.known.kind {
            Kind::Bare | Kind::Cli => Err(self.wrong_kind()),
            Kind::Hook | Kind::Root => self.path(value),
            Kind::Accounts
            | Kind::Variables
            | Kind::Names
            | Kind::Descriptors
            | Kind::Limits
            | Kind::Capabilities => Ok(self.list(value)?),
            _ => match literal(value) {
                Some(literal) => self.literal(&literal, value, root),
                None if self.known.kind == Kind::LastWord => self.path(value),
                None => Ok(value.clone()),
            },
        };
        match checked {
            Ok(argument) => Ok(Call {
                method: self.key.clone(),
                argument,
            }),
            Err(message) => Err(Error::new_spanned(value, message)),
        }
    }

    /// Tells whether the value is `"keep"`, and the argument is one that has it.
    fn is_kept(&self, value: &TokenStream) -> bool {
        match literal(value) {
            Some(Lit::Str(text)) => self.can_be_kept() && text.value() == "keep",
            _ => false,
        }
    }

    fn can_be_kept(&self) -> bool {
        CAN_BE_KEPT.iter().any(|name| self.key == name)
    }

    /// The same for a key alone.
    fn bare(&self) -> Result<Call> {
        let key = &self.key;
        let (method, argument) = match self.known.kind {
            Kind::Bare => (key.clone(), TokenStream::new()),
            // The version that `--version` prints is that of the user's package.
            Kind::Cli => (key.clone(), quote!(::core::env!("CARGO_PKG_VERSION"))),
            Kind::Flag => (key.clone(), quote!(true)),
            Kind::Path | Kind::Log if HAVE_USUAL_PLACE.iter().any(|name| key == name) => (
                Ident::new(&format!("default_{key}"), key.span()),
                TokenStream::new(),
            ),
            _ => return Err(self.known.missing(key)),
        };
        Ok(Call { method, argument })
    }

    /// Checks the path of a function, or of the crate.
    fn path(&self, value: &TokenStream) -> Checked<TokenStream> {
        let tokens = tokens::visible(value.clone());
        if tokens::is_path(&tokens) {
            return Ok(value.clone());
        }
        let key = &self.key;
        match (literal(value), tokens.split_last()) {
            (Some(Lit::Str(text)), _) => Err(format!(
                "`{key}` takes a path, not a string: write `{key} = {}`",
                text.value()
            )),
            (_, Some((TokenTree::Group(call), path)))
                if call.delimiter() == Delimiter::Parenthesis && tokens::is_path(path) =>
            {
                let path: TokenStream = path.iter().cloned().collect();
                Err(format!(
                    "`{key}` takes the function, not its result: write `{key} = {path}`"
                ))
            }
            _ => Err(self.wrong_kind()),
        }
    }

    /// Checks a literal where one value is expected.
    fn literal(
        &self,
        literal: &Lit,
        value: &TokenStream,
        root: &TokenStream,
    ) -> Checked<TokenStream> {
        match (self.known.kind, literal) {
            (Kind::LastWord, Lit::Str(text)) => return message::hook(text, root),
            (Kind::Timeout, Lit::Str(text)) => return self.timeout(&text.value()),
            (Kind::Size, Lit::Str(text)) => return self.size(&text.value()),
            (Kind::Size, Lit::Int(number)) => return self.size(number.base10_digits()),
            (Kind::Mode, Lit::Str(text)) => {
                return self.variant(&text.value(), &MODES, &quote!(#root::Mode));
            }
            (Kind::AlreadyRunning, Lit::Str(text)) => {
                let outcome = quote!(#root::AlreadyRunning);
                return self.variant(&text.value(), &ALREADY_RUNNING, &outcome);
            }
            (Kind::Name, Lit::Str(text)) => name(&text.value())?,
            (Kind::Path, Lit::Str(text)) => self.absolute(&text.value())?,
            (Kind::Log, Lit::Str(text)) => self.log(&text.value())?,
            (Kind::Account, literal) => self.account(literal)?,
            (Kind::Umask, Lit::Int(mask)) => umask(mask)?,
            (Kind::Count, Lit::Int(number)) => self.between(number, 1, 1000)?,
            (Kind::Nice, Lit::Int(number)) => self.between(number, -20, 19)?,
            (Kind::OomScore, Lit::Int(number)) => self.between(number, -1000, 1000)?,
            (Kind::Cpus, Lit::Str(text)) => drop(cpus::read(&text.value())?),
            (Kind::Flag, Lit::Bool(_)) => {}
            _ => return Err(self.wrong_kind()),
        }
        Ok(value.clone())
    }

    /// Checks each literal in a list. An expression stays as it is.
    fn list(&self, value: &TokenStream) -> Result<TokenStream> {
        match &tokens::visible(value.clone())[..] {
            [TokenTree::Group(list)] if list.delimiter() == Delimiter::Bracket => {
                self.elements(list.stream())
            }
            _ if literal(value).is_some() => Err(Error::new_spanned(value, self.wrong_kind())),
            _ => Ok(value.clone()),
        }
    }

    fn elements(&self, list: TokenStream) -> Result<TokenStream> {
        let elements = tokens::split_at_commas(list, Angles::AfterOperators);
        let elements: Vec<TokenStream> = elements.into_iter().map(TokenStream::from_iter).collect();
        elements.iter().try_for_each(one_value)?;
        let mut faults: Option<Error> = None;
        for literal in elements.iter().filter_map(literal) {
            let Err(message) = self.element(&literal) else {
                continue;
            };
            let fault = Error::new_spanned(literal, message);
            match &mut faults {
                Some(faults) => faults.combine(fault),
                None => faults = Some(fault),
            }
        }
        match faults {
            Some(faults) => Err(faults),
            // `[]` alone has no type.
            None if elements.is_empty() && self.known.kind == Kind::Descriptors => {
                Ok(quote!([0; 0]))
            }
            None if elements.is_empty() => Ok(quote!([""; 0])),
            None => Ok(list_of_one_type(elements)),
        }
    }

    fn element(&self, literal: &Lit) -> Checked {
        match (self.known.kind, literal) {
            (Kind::Accounts, literal) => self.account(literal),
            (Kind::Names, Lit::Str(text)) if text.value().contains('*') => {
                Err("the name must be exact, without `*`".to_owned())
            }
            (Kind::Variables | Kind::Names, Lit::Str(text)) => variable(&text.value()),
            (Kind::Descriptors, Lit::Int(fd)) => descriptor(fd),
            (Kind::Limits, Lit::Str(text)) => limits::read(&text.value()).map(drop),
            (Kind::Capabilities, Lit::Str(text)) => capability(&text.value()),
            _ => Err(self.wrong_kind()),
        }
    }

    fn between(&self, number: &LitInt, lowest: i32, highest: i32) -> Checked {
        match number.base10_parse::<i32>() {
            Ok(value)
                if (lowest..=highest).contains(&value) && matches!(number.suffix(), "" | "i32") =>
            {
                Ok(())
            }
            _ => Err(format!(
                "`{}` must be a number from {lowest} to {highest}",
                self.key
            )),
        }
    }

    fn account(&self, literal: &Lit) -> Checked {
        match literal {
            Lit::Str(name) if name.value().is_empty() => {
                Err("the name must not be empty".to_owned())
            }
            Lit::Str(name) if name.value().contains(['\0', '\n', ':']) => {
                Err("the name must not contain `:`, a newline or a NUL byte".to_owned())
            }
            Lit::Str(_) => Ok(()),
            // The last number, -1, tells the system calls to change nothing.
            Lit::Int(id) => match id.base10_parse::<u32>() {
                Ok(number) if number < u32::MAX && matches!(id.suffix(), "" | "u32") => Ok(()),
                _ => Err("an id must be a number from 0 to 4294967294".to_owned()),
            },
            _ => Err(self.wrong_kind()),
        }
    }

    fn absolute(&self, path: &str) -> Checked {
        if path.contains('\0') {
            Err("a path must not contain a NUL byte".to_owned())
        } else if path.starts_with('/') {
            Ok(())
        } else {
            let (key, usage) = (&self.key, self.known.usage());
            let other = if self.known.kind == Kind::Log {
                ", `\"journal\"`, `\"syslog\"` or `\"keep\"`"
            } else if self.can_be_kept() {
                ", or `\"keep\"`"
            } else {
                ""
            };
            Err(format!(
                "`{key}` must be an absolute path, such as `{usage}`{other}"
            ))
        }
    }

    /// The words are those of the runtime's type `Log`.
    fn log(&self, text: &str) -> Checked {
        match text {
            "journal" | "syslog" | "keep" => Ok(()),
            path => self.absolute(path),
        }
    }

    fn timeout(&self, text: &str) -> Checked<TokenStream> {
        let key = &self.key;
        match milliseconds(text) {
            Some(0) => Err(format!(
                "`{key}` must not be zero; leave it out for no limit"
            )),
            Some(milliseconds) => Ok(quote!(::core::time::Duration::from_millis(#milliseconds))),
            None => Err(format!(
                "`{key}` takes a duration, such as `\"30s\"`, `\"500ms\"` or `\"2m\"`"
            )),
        }
    }

    fn size(&self, text: &str) -> Checked<TokenStream> {
        match bytes(text) {
            Some(0) => Err(format!("`{}` must not be zero", self.key)),
            Some(bytes) => Ok(quote!(#bytes)),
            None => Err(self.wrong_kind()),
        }
    }

    /// The variant of an enum that has this name.
    fn variant(
        &self,
        text: &str,
        names: &[(&str, &str)],
        enumeration: &TokenStream,
    ) -> Checked<TokenStream> {
        let Some((_, variant)) = names.iter().find(|(name, _)| *name == text) else {
            return Err(self.wrong_kind());
        };
        let variant = Ident::new(variant, Span::call_site());
        Ok(quote!(#enumeration::#variant))
    }

    fn wrong_kind(&self) -> String {
        let (key, usage) = (&self.key, self.known.usage());
        let what = match self.known.kind {
            Kind::Hook => "the path of a function",
            Kind::LastWord => "the path of a function, or a message",
            Kind::Root => "the path of the crate daemon-rt",
            Kind::Bare | Kind::Cli => return format!("`{key}` takes no value: write `{usage}`"),
            Kind::Name => "a string",
            Kind::Path => "an absolute path as a string",
            Kind::Log => "an absolute path, `\"journal\"`, `\"syslog\"` or `\"keep\"`",
            Kind::Size => "a number of bytes, or a string of one with `K`, `M` or `G`",
            Kind::Account => "a name or a number",
            Kind::Accounts => "a list of names or numbers",
            Kind::Umask => "an octal number or `\"keep\"`",
            Kind::Variables | Kind::Names => "a list of names of environment variables",
            Kind::Descriptors => "a list of numbers of descriptors",
            Kind::Limits => "a list of resource limits",
            Kind::Count | Kind::Nice | Kind::OomScore => "a number",
            Kind::Cpus => "a list of processors as a string",
            Kind::Capabilities => "a list of names of capabilities",
            Kind::Flag => return format!("`{key}` must be `true` or `false`"),
            Kind::Timeout => "a duration as a string",
            Kind::Mode => return one_of(key, &MODES),
            Kind::AlreadyRunning => return one_of(key, &ALREADY_RUNNING),
        };
        format!("`{key}` takes {what}, such as `{usage}`")
    }
}

/// The message for a name that is not among these.
fn one_of(key: &Ident, names: &[(&str, &str)]) -> String {
    let quoted: Vec<String> = names
        .iter()
        .map(|(name, _)| format!("`\"{name}\"`"))
        .collect();
    format!("`{key}` must be one of {}", quoted.join(", "))
}

/// Refuses two literals side by side, which are not an expression: the compiler would take them for
/// two arguments of a call.
fn one_value(value: &TokenStream) -> Result<()> {
    let tokens: Vec<TokenTree> = value.clone().into_iter().collect();
    for pair in tokens.windows(2) {
        if let [TokenTree::Literal(_), TokenTree::Literal(second)] = pair {
            let message = format!("missing comma before `{second}`");
            return Err(Error::new_spanned(second, message));
        }
    }
    Ok(())
}

/// The value as a literal, if it is one.
fn literal(value: &TokenStream) -> Option<Lit> {
    syn::parse2(value.clone()).ok()
}

/// Turns the numbers into strings if there is a string among the literals. A number in a string is
/// still taken as a number.
fn list_of_one_type(mut elements: Vec<TokenStream>) -> TokenStream {
    let literals: Vec<Option<Lit>> = elements.iter().map(literal).collect();
    if literals
        .iter()
        .any(|literal| matches!(literal, Some(Lit::Str(_))))
    {
        for (element, literal) in elements.iter_mut().zip(&literals) {
            if let Some(Lit::Int(id)) = literal {
                *element = LitStr::new(id.base10_digits(), id.span()).into_token_stream();
            }
        }
    }
    quote!([#(#elements),*])
}
