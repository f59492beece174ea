//! The expansion, and what remains of the function after an error.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::Error;

use crate::args::{self, Args, Call};
use crate::entry::Entry;

/// The attribute, from tokens to tokens.
pub(crate) fn daemon(args: TokenStream, item: &TokenStream) -> TokenStream {
    let mut faults = Vec::new();
    let args = args::parse(args, &mut faults);
    let entry = match Entry::read(item.clone()) {
        Ok(entry) => entry,
        Err(fault) => {
            faults.push(fault);
            return with_errors(item, &faults);
        }
    };
    entry.check(&mut faults);
    if faults.is_empty() {
        entry.check_with(&args, &mut faults);
    }
    if faults.is_empty() {
        service(&args, &entry)
    } else {
        with_errors(&kept(&entry), &faults)
    }
}

/// The expansion.
fn service(args: &Args, entry: &Entry) -> TokenStream {
    let Args {
        root,
        settings,
        hooks,
        started,
        ..
    } = args;
    let Entry {
        for_callers,
        visibility,
        name,
        ..
    } = entry;
    let (function, main) = match &args.main_loop {
        Some(main_loop) => (None, main_loop.clone()),
        None => (Some(inner_function(entry)), inner_main(entry)),
    };
    let method = if args.defer_ready.is_some() {
        "defer_ready"
    } else {
        "main"
    };
    let main = Call {
        method: Ident::new(method, main.method.span()),
        ..main
    };
    let (place, start) = start(args, entry);
    quote! {
        #for_callers
        #visibility fn #name() -> ::std::process::ExitCode {
            #function
            #place
            let mut __daemon = #root::Daemon::new();
            #(__daemon #settings;)*
            let mut __service = __daemon.hooks() #(#hooks)* #main #started;
            __service.show_errors();
            #start
        }
    }
}

/// The call that starts the service, and the type that tells it the place. A `main` may be that of the
/// program, before which no code runs.
///
/// The `unsafe` block contains no token and no span of the user's: otherwise an unsafe call would
/// compile in an argument, and `#![forbid(unsafe_code)]` would forbid the block.
fn start(args: &Args, entry: &Entry) -> (Option<TokenStream>, TokenStream) {
    if entry.name != "main" || args.runs_code {
        return (None, quote!(__daemon.serve(__service)));
    }
    let in_program = quote!(::core::option_env!("CARGO_BIN_NAME").is_some() && !::core::cfg!(test));
    let start = quote! {
        unsafe { __daemon.run_in::<__Here, { #in_program }, _>(__service) }
    };
    (
        Some(quote!(
            struct __Here;
        )),
        start,
    )
}

/// The function alone, nested as without an error, so that the editor keeps working in its body.
fn kept(entry: &Entry) -> TokenStream {
    let Entry {
        for_callers,
        visibility,
        name,
        ..
    } = entry;
    let function = inner_function(entry);
    quote! {
        #for_callers
        #visibility fn #name() {
            #[allow(dead_code)]
            #function
        }
    }
}

fn with_errors(item: &TokenStream, faults: &[Error]) -> TokenStream {
    let errors = faults.iter().map(Error::to_compile_error);
    quote!(#(#errors)* #item)
}

/// The function as it is written, nested. Its `fn` does not have the user's span, or clippy would
/// tell them not to take their parameter by value.
fn inner_function(entry: &Entry) -> TokenStream {
    let Entry {
        attributes,
        qualifiers,
        generics,
        parameters,
        output,
        where_clause,
        body,
        ..
    } = entry;
    let name = inner_name(entry);
    quote! {
        #attributes
        #qualifiers fn #name #generics (#(#parameters),*) #output #where_clause #body
    }
}

/// The function's own name: async-std insists on `main`. But tokio refuses a `main` with a parameter.
fn inner_name(entry: &Entry) -> Ident {
    if entry.name == "main" && !entry.parameters.is_empty() {
        Ident::new("__daemon_main", entry.name.span())
    } else {
        entry.name.clone()
    }
}

/// The call that gives the nested function to the builder.
///
/// If the parameter does not fit, the compiler's error points at the argument, which spans the
/// parameter. If the result does not fit, it points at the method, which spans the return type.
fn inner_main(entry: &Entry) -> Call {
    let mut name = inner_name(entry);
    let (first, last) = match entry.parameters.first().and_then(ends) {
        Some(ends) => ends,
        None => (name.span(), name.span()),
    };
    let output = match entry.output.clone().into_iter().nth(2) {
        Some(after_arrow) => after_arrow.span(),
        None => last,
    };
    name.set_span(first);
    let left = quote_spanned!(first=> #name::<);
    let right = quote_spanned!(last=> >);
    Call {
        method: Ident::new("main", output),
        argument: quote!(#left #right),
    }
}

fn ends(tokens: &TokenStream) -> Option<(Span, Span)> {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    Some((tokens.first()?.span(), tokens.last()?.span()))
}

impl ToTokens for Call {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Self { method, argument } = self;
        tokens.extend(quote!(.#method(#argument)));
    }
}

#[cfg(test)]
mod tests {
    use proc_macro2::{TokenStream, TokenTree};
    use quote::quote;

    #[test]
    fn the_expansion_is_thin() {
        let expansion = super::daemon(
            quote!(pidfile = "/run/greeter.pid", user = "nobody", init = bind),
            &quote! {
                /// Says hello.
                #[inline]
                fn main(listener: TcpListener) -> io::Result<()> {
                    serve(listener)
                }
            },
        );
        let expected = quote! {
            /// Says hello.
            fn main() -> ::std::process::ExitCode {
                #[inline]
                fn __daemon_main(listener: TcpListener) -> io::Result<()> {
                    serve(listener)
                }
                struct __Here;
                let mut __daemon = ::daemon_rt::Daemon::new();
                __daemon.pidfile("/run/greeter.pid");
                __daemon.user("nobody");
                let mut __service = __daemon.hooks().init(bind).main(__daemon_main::<>);
                __service.show_errors();
                unsafe {
                    __daemon.run_in::<__Here, {
                        ::core::option_env!("CARGO_BIN_NAME").is_some() && !::core::cfg!(test)
                    }, _>(__service)
                }
            }
        };
        assert_eq!(expansion.to_string(), expected.to_string());
    }

    #[test]
    fn any_function_is_started_without_a_promise() {
        let expansion = super::daemon(
            quote!(init = listen),
            &quote! {
                pub(crate) fn serve(agent: Agent) {}
            },
        );
        let expected = quote! {
            pub(crate) fn serve() -> ::std::process::ExitCode {
                fn serve(agent: Agent) {}
                let mut __daemon = ::daemon_rt::Daemon::new();
                let mut __service = __daemon.hooks().init(listen).main(serve::<>);
                __service.show_errors();
                __daemon.serve(__service)
            }
        };
        assert_eq!(expansion.to_string(), expected.to_string());
    }

    /// What is evaluated can open a descriptor and keep it: an expression, and the `new` of a type
    /// that is called `Daemon`, too.
    #[test]
    fn a_main_that_runs_code_of_the_program_is_started_without_a_promise() {
        for argument in [
            quote!(pidfile = place()),
            quote!(pidfile = PLACE),
            quote!(pidfile = concat!("/", "x")),
            quote!(crate = crate::facade),
        ] {
            let main = quote!(
                fn main() {}
            );
            let expansion = super::daemon(argument, &main).to_string();
            assert!(!expansion.contains("unsafe"), "{expansion}");
        }
    }

    #[test]
    fn every_argument_is_one_call() {
        let expansion = super::daemon(
            quote! {
                started = greet, main_loop = serve, defer_ready, init = open, privileged_init = bind, configure = configure,
                name = "greeter", pidfile, stdout, stderr, umask = "keep", working_directory = "keep", group = 5, groups = ["adm", 5], keep_env = [], no_new_privs,
                start_timeout = "2m", mode = "detach", already_running = "wait", reloads, watchdog = "30s", cli, crate = rt,
            },
            &quote!(
                pub(crate) fn main() {}
            ),
        );
        let expected = quote! {
            pub(crate) fn main() -> ::std::process::ExitCode {
                let mut __daemon = rt::Daemon::new();
                __daemon.name("greeter");
                __daemon.default_pidfile();
                __daemon.default_stdout();
                __daemon.default_stderr();
                __daemon.keep_umask();
                __daemon.keep_working_directory();
                __daemon.group(5);
                __daemon.groups(["adm", "5"]);
                __daemon.keep_env([""; 0]);
                __daemon.no_new_privs(true);
                __daemon.start_timeout(::core::time::Duration::from_millis(120000u64));
                __daemon.mode(rt::Mode::Detach);
                __daemon.already_running(rt::AlreadyRunning::Wait);
                __daemon.reloads();
                __daemon.watchdog(::core::time::Duration::from_millis(30000u64));
                __daemon.cli(::core::env!("CARGO_PKG_VERSION"));
                let mut __service =
                    __daemon.hooks().configure(configure).privileged_init(bind).init(open).defer_ready(serve).started(greet);
                __service.show_errors();
                __daemon.serve(__service)
            }
        };
        assert_eq!(expansion.to_string(), expected.to_string());
    }

    #[test]
    fn attributes_for_callers_are_on_the_outer_function() {
        let expansion = super::daemon(
            quote!(),
            &quote! {
                #[must_use]
                #[inline]
                #[deprecated = "say `run`"]
                fn serve() {}
            },
        );
        let outer = quote! {
            #[must_use]
            #[deprecated = "say `run`"]
            fn serve() -> ::std::process::ExitCode
        };
        let inner = quote! {
            #[inline]
            fn serve() {}
        };
        let begin = format!("{outer} {{ {inner}");
        assert!(expansion.to_string().starts_with(&begin), "{expansion}");
    }

    #[test]
    fn nothing_is_added_per_line_of_the_user() {
        let added = |args: TokenStream, item: TokenStream| {
            let expansion = super::daemon(args.clone(), &item);
            count(expansion) - count(args) - count(item)
        };
        let bare = added(
            quote!(),
            quote!(
                fn main() {}
            ),
        );
        let long = added(
            quote!(),
            quote!(
                fn main() {
                    a();
                    b();
                    c();
                    d();
                }
            ),
        );
        let hooked = added(
            quote!(init = f),
            quote!(
                fn main(state: S) {}
            ),
        );
        assert!(
            bare <= 100 && long == bare && hooked <= bare + 5,
            "{bare}, {long}, {hooked}"
        );
    }

    fn count(tokens: TokenStream) -> usize {
        tokens
            .into_iter()
            .map(|token| {
                1 + if let TokenTree::Group(group) = token {
                    count(group.stream())
                } else {
                    0
                }
            })
            .sum()
    }

    /// Each token of a right input is left out, doubled, and put last.
    #[test]
    fn no_tokens_make_it_panic() {
        let args: Vec<TokenTree> = quote! {
            pidfile = "/run/greeter.pid", user = -1, groups = ["adm", 5,], umask = 0o22, capabilities = ["CAP_KILL"],
            start_timeout = "99999999999999999999m", init = <T as Load>::load::<A, { B }>, no_new_privs, mode = "auto",
            name = |a, b| a || b < c, keep_env("*"), crate = ::rt,
        }
        .into_iter()
        .collect();
        let item: Vec<TokenTree> = quote! {
            #[doc = "x"] #[x::y(z)] pub(crate) const async unsafe extern "C" fn main<T: Fn(u8) -> u8>(a: (u8, T), b: Ready)
                -> io::Result<()> where T: Copy { body() }
        }
        .into_iter()
        .collect();
        for args in mutations(&args) {
            super::daemon(
                args,
                &quote!(
                    fn main() {}
                ),
            );
        }
        for item in mutations(&item) {
            super::daemon(quote!(init = f, defer_ready), &item);
            super::daemon(quote!(main_loop = f), &item);
        }
    }

    fn mutations(tokens: &[TokenTree]) -> Vec<TokenStream> {
        let mut mutations = vec![tokens.to_vec()];
        for i in 0..tokens.len() {
            let (before, after) = (&tokens[..i], &tokens[i + 1..]);
            mutations.push(before.to_vec());
            mutations.push([before, after].concat());
            mutations.push([before, after, &tokens[i..=i]].concat());
            mutations.push([before, &tokens[i..=i], &tokens[i..=i], after].concat());
        }
        mutations
            .into_iter()
            .map(|tokens| tokens.into_iter().collect())
            .collect()
    }
}
