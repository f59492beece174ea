//! The arguments of the attribute: each error on its own token, and all of them together.

use proc_macro2::{Ident, Spacing, TokenStream, TokenTree};
use quote::quote;
use syn::{Error, Result};

use crate::tokens::{self, Angles};
use crate::values::Kind;

/// An argument that the attribute takes.
pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// A value, for messages; empty if the argument takes none.
    pub(crate) example: &'static str,
}

/// Every argument. The hooks are in the order in which they run.
#[rustfmt::skip]
pub(crate) const KNOWN: &[Known] = &[
    Known { name: "configure",         kind: Kind::Hook,         example: "configure" },
    Known { name: "privileged_init",   kind: Kind::Hook,         example: "bind" },
    Known { name: "init",              kind: Kind::Hook,         example: "open" },
    Known { name: "main_loop",         kind: Kind::Hook,         example: "serve" },
    Known { name: "defer_ready",       kind: Kind::Bare,         example: "" },
    Known { name: "started",           kind: Kind::LastWord,     example: r#""running, pid {pid}""# },
    Known { name: "name",              kind: Kind::Name,         example: r#""greeter""# },
    Known { name: "pidfile",           kind: Kind::Path,         example: r#""/run/greeter.pid""# },
    Known { name: "user",              kind: Kind::Account,      example: r#""nobody""# },
    Known { name: "group",             kind: Kind::Account,      example: r#""nogroup""# },
    Known { name: "groups",            kind: Kind::Accounts,     example: r#"["adm", "ssl-cert"]"# },
    Known { name: "chroot",            kind: Kind::Path,         example: r#""/srv/greeter""# },
    Known { name: "working_directory", kind: Kind::Path,         example: r#""/var/lib/greeter""# },
    Known { name: "umask",             kind: Kind::Umask,        example: "0o022" },
    Known { name: "keep_env",          kind: Kind::Variables,    example: r#"["RUST_LOG", "GREETER_*"]"# },
    Known { name: "keep_fds",          kind: Kind::Descriptors,  example: "[3, 4]" },
    Known { name: "keep_fds_from",     kind: Kind::Names,        example: r#"["TUN_FD"]"# },
    Known { name: "runtime_directory", kind: Kind::Bare,         example: "" },
    Known { name: "state_directory",   kind: Kind::Bare,         example: "" },
    Known { name: "stdout",            kind: Kind::Log,          example: r#""/var/log/greeter.log""# },
    Known { name: "stderr",            kind: Kind::Log,          example: r#""/var/log/greeter.err""# },
    Known { name: "log_size",          kind: Kind::Size,         example: r#""10M""# },
    Known { name: "log_keep",          kind: Kind::Count,        example: "5" },
    Known { name: "limits",            kind: Kind::Limits,       example: r#"["nofile=65536", "core=0:unlimited"]"# },
    Known { name: "nice",              kind: Kind::Nice,         example: "5" },
    Known { name: "oom_score_adj",     kind: Kind::OomScore,     example: "-500" },
    Known { name: "cpu_affinity",      kind: Kind::Cpus,         example: r#""0-3,8""# },
    Known { name: "capabilities",      kind: Kind::Capabilities, example: r#"["CAP_NET_BIND_SERVICE"]"# },
    Known { name: "no_new_privs",      kind: Kind::Flag,         example: "true" },
    Known { name: "start_timeout",     kind: Kind::Timeout,      example: r#""30s""# },
    Known { name: "stop_timeout",      kind: Kind::Timeout,      example: r#""30s""# },
    Known { name: "reloads",           kind: Kind::Bare,         example: "" },
    Known { name: "watchdog",          kind: Kind::Timeout,      example: r#""30s""# },
    Known { name: "drain_timeout",     kind: Kind::Timeout,      example: r#""5s""# },
    Known { name: "mode",              kind: Kind::Mode,         example: r#""foreground""# },
    Known { name: "already_running",   kind: Kind::AlreadyRunning, example: r#""wait""# },
    Known { name: "cli",               kind: Kind::Cli,          example: "" },
    Known { name: "crate",             kind: Kind::Root,         example: "::daemon_rt" },
];

/// The arguments, checked.
pub(crate) struct Args {
    /// The path of the crate daemon-rt.
    pub(crate) root: TokenStream,
    /// In the order in which they are written.
    pub(crate) settings: Vec<Call>,
    /// An argument may run any code of the program, as an expression does.
    pub(crate) runs_code: bool,
    /// In the order in which they run.
    pub(crate) hooks: Vec<Call>,
    pub(crate) main_loop: Option<Call>,
    pub(crate) defer_ready: Option<Ident>,
    pub(crate) started: Option<Call>,
}

/// A call of the builder. The method has the span of the user's own word, so that the compiler's
/// errors point there.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Ident,
    pub(crate) argument: TokenStream,
}

/// An argument as it is written.
pub(crate) struct Arg {
    pub(crate) known: &'static Known,
    pub(crate) key: Ident,
    pub(crate) value: Option<TokenStream>,
}

/// Reads the arguments. Those that are wrong are left out, and go to `faults`.
pub(crate) fn parse(tokens: TokenStream, faults: &mut Vec<Error>) -> Args {
    let mut written = Vec::new();
    for tokens in tokens::split_at_commas(tokens, Angles::AfterOperators) {
        read(&tokens, &mut written);
    }
    let mut args = Args {
        root: root(&written),
        settings: Vec::new(),
        runs_code: false,
        hooks: Vec::new(),
        main_loop: None,
        defer_ready: None,
        started: None,
    };
    let mut seen = Vec::new();
    for arg in written {
        let added = match arg {
            Ok(arg) => args.add(&arg, &mut seen),
            Err(fault) => Err(fault),
        };
        faults.extend(added.err());
    }
    args.hooks
        .sort_by_key(|hook| KNOWN.iter().position(|known| hook.method == known.name));
    args
}

/// The path of the crate daemon-rt. Other arguments need it, wherever it stands.
fn root(written: &[Result<Arg>]) -> TokenStream {
    for arg in written {
        match arg {
            Ok(Arg {
                known,
                value: Some(path),
                ..
            }) if known.kind == Kind::Root => return path.clone(),
            _ => {}
        }
    }
    quote!(::daemon_rt)
}

impl Args {
    fn add(&mut self, arg: &Arg, seen: &mut Vec<&'static str>) -> Result<()> {
        let name = arg.known.name;
        if seen.contains(&name) {
            let message = format!("`{name}` is given twice");
            return Err(Error::new_spanned(&arg.key, message));
        }
        seen.push(name);
        let call = arg.check(&self.root)?;
        match name {
            "configure" | "privileged_init" | "init" => self.hooks.push(call),
            "main_loop" => self.main_loop = Some(call),
            "defer_ready" => self.defer_ready = Some(call.method),
            "started" => self.started = Some(call),
            // It may be a module of the program, with a `Daemon` of its own.
            "crate" => self.runs_code = true,
            _ => {
                self.settings.push(call);
                if let Some(value) = &arg.value {
                    self.runs_code |= !is_constant(value.clone());
                }
            }
        }
        Ok(())
    }
}

/// Tells whether this is a literal, or a list of literals.
fn is_constant(value: TokenStream) -> bool {
    value.into_iter().all(|token| match token {
        TokenTree::Literal(_) => true,
        TokenTree::Ident(word) => word == "true" || word == "false",
        TokenTree::Punct(punct) => ",-".contains(punct.as_char()),
        TokenTree::Group(list) => is_constant(list.stream()),
    })
}

/// Reads one argument, or several between which commas were forgotten.
fn read(mut tokens: &[TokenTree], args: &mut Vec<Result<Arg>>) {
    while let Some(end) = (0..tokens.len()).find(|&i| is_key_after_value(&tokens[i..])) {
        let (one, others) = tokens.split_at(end + 1);
        args.push(Arg::read(one));
        let message = format!("missing comma before `{}`", others[0]);
        args.push(Err(Error::new_spanned(&others[0], message)));
        tokens = others;
    }
    args.push(Arg::read(tokens));
}

/// Tells whether a value ends here, and `key` or `key =` comes next. (In `if name == other` it does
/// not.)
fn is_key_after_value(tokens: &[TokenTree]) -> bool {
    let [value, TokenTree::Ident(key), rest @ ..] = tokens else {
        return false;
    };
    let is_key = match rest.first() {
        None => true,
        Some(TokenTree::Punct(punct)) => {
            punct.as_char() == '=' && punct.spacing() == Spacing::Alone
        }
        Some(_) => false,
    };
    is_key && !matches!(value, TokenTree::Punct(_)) && KNOWN.iter().any(|known| key == known.name)
}

impl Arg {
    fn read(tokens: &[TokenTree]) -> Result<Self> {
        let tokens = tokens::visible(tokens.iter().cloned().collect());
        let [TokenTree::Ident(key), rest @ ..] = &tokens[..] else {
            let message = "expected an argument, such as `user = \"nobody\"`";
            return Err(Error::new_spanned(TokenStream::from_iter(tokens), message));
        };
        let known = find(key)?;
        let value = known.value(key, rest)?;
        Ok(Self {
            known,
            key: key.clone(),
            value,
        })
    }
}

/// Finds the argument of this name.
fn find(key: &Ident) -> Result<&'static Known> {
    if let Some(known) = KNOWN.iter().find(|known| key == known.name) {
        return Ok(known);
    }
    let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
    let hint = match tokens::nearest(&key.to_string(), &names) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => String::new(),
    };
    let message = format!(
        "unknown argument `{key}`{hint}\nthe arguments are `{}`",
        names.join("`, `")
    );
    Err(Error::new_spanned(key, message))
}

impl Known {
    /// Returns what stands after the key and `=`.
    fn value(&self, key: &Ident, rest: &[TokenTree]) -> Result<Option<TokenStream>> {
        match rest {
            [] => Ok(None),
            [TokenTree::Punct(equals)] if equals.as_char() == '=' => Err(self.missing(key)),
            [TokenTree::Punct(equals), value @ ..] if equals.as_char() == '=' => {
                Ok(Some(value.iter().cloned().collect()))
            }
            [other, ..] => {
                let meant = meant(rest);
                let message = format!("write the value after `=`: `{key} = {meant}`");
                Err(Error::new_spanned(other, message))
            }
        }
    }

    pub(crate) fn missing(&self, key: &Ident) -> Error {
        let message = format!("`{key}` needs a value, such as `{}`", self.usage());
        Error::new_spanned(key, message)
    }

    /// An example of the whole argument.
    pub(crate) fn usage(&self) -> String {
        match self.example {
            "" => self.name.to_owned(),
            example => format!("{} = {example}", self.name),
        }
    }
}

/// The value that is meant where `key = value` is written otherwise.
fn meant(rest: &[TokenTree]) -> TokenStream {
    match rest {
        [TokenTree::Group(value)] => value.stream(),
        [TokenTree::Punct(_), value @ ..] | value => value.iter().cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{KNOWN, parse};

    #[test]
    fn the_examples_in_messages_are_right() {
        for known in KNOWN {
            let mut faults = Vec::new();
            parse(known.usage().parse().expect("tokens"), &mut faults);
            assert!(faults.is_empty(), "{}: {}", known.usage(), faults[0]);
        }
    }

    #[test]
    fn every_argument_is_in_the_documentation() {
        let documentation = include_str!("lib.rs");
        for known in KNOWN {
            let (bare, hook) = (format!("`{}`", known.name), format!("`{} = f`", known.name));
            let is_there = documentation.contains(&bare) || documentation.contains(&hook);
            assert!(is_there, "{bare} is missing");
        }
    }
}
