//! The expansion, and what is kept of the function on an error.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Error;

use crate::args::{self, Args, Call};
use crate::entry::Entry;

/// The attribute, from tokens to tokens.
pub(crate) fn daemon(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut faults = Vec::new();
    let args = args::parse(args, &mut faults);
    let entry = match Entry::read(item.clone()) {
        Ok(entry) => entry,
        Err(fault) => {
            faults.push(fault);
            let errors = faults.iter().map(Error::to_compile_error);
            return quote!(#(#errors)* #item);
        }
    };
    entry.check(&mut faults);
    if faults.is_empty() {
        entry.check_with(&args, &mut faults);
    }
    if faults.is_empty() { service(&args, &entry) } else { kept(&entry, &faults) }
}

/// The expansion.
///
/// Nothing of the user's stands inside the `unsafe` block, and none of its tokens has a span of the user's: else an
/// unsafe call would compile in an argument, and `#![forbid(unsafe_code)]` would forbid the block.
fn service(args: &Args, entry: &Entry) -> TokenStream {
    let Args { root, settings, hooks, .. } = args;
    let Entry { docs, visibility, name, .. } = entry;
    let (function, main) = match &args.main_loop {
        Some(main_loop) => (None, main_loop.clone()),
        None => (Some(inner_function(entry)), inner_main(entry)),
    };
    let method = if args.defer_ready.is_some() { "defer_ready" } else { "main" };
    let main = Call { method: Ident::new(method, main.method.span()), ..main };
    quote! {
        #docs
        #visibility fn #name() -> ::std::process::ExitCode {
            #function
            let mut __daemon = #root::Daemon::new();
            #(__daemon #settings;)*
            let __service = __daemon.hooks() #(#hooks)* #main;
            unsafe { __daemon.run(__service) }
        }
    }
}

/// The errors, and the function nested as it would be without them, so that the editor keeps working in its body.
fn kept(entry: &Entry, faults: &[Error]) -> TokenStream {
    let Entry { docs, visibility, name, .. } = entry;
    let errors = faults.iter().map(Error::to_compile_error);
    let function = inner_function(entry);
    quote! {
        #(#errors)*
        #docs
        #visibility fn #name() {
            #[allow(dead_code)]
            #function
        }
    }
}

/// The function as it is written, nested. Its `fn` is not the user's, or clippy would tell them not to take their
/// parameter by value.
fn inner_function(entry: &Entry) -> TokenStream {
    let Entry { attributes, qualifiers, generics, parameters, output, where_clause, body, .. } = entry;
    let name = inner_name(entry);
    quote! {
        #attributes
        #qualifiers fn #name #generics (#(#parameters),*) #output #where_clause #body
    }
}

/// `main` where that can be, for async-std insists on it; not with a parameter, for tokio refuses that.
fn inner_name(entry: &Entry) -> Ident {
    let name = if entry.parameters.is_empty() { "main" } else { "__daemon_main" };
    Ident::new(name, entry.name.span())
}

/// The call that gives the nested function to the builder. The compiler complains of the argument where a parameter
/// does not fit, so it spans the parameter; and of the method where the result is none, so that spans the return type.
fn inner_main(entry: &Entry) -> Call {
    let name = inner_name(entry);
    let (first, last) = ends(entry.parameters.first()).unwrap_or((name.span(), name.span()));
    let name = Ident::new(&name.to_string(), first);
    let left = quote_spanned!(first=> #name::<);
    let right = quote_spanned!(last=> >);
    let (_, output) = ends(Some(&entry.output)).unwrap_or((last, last));
    Call { method: Ident::new("main", output), argument: quote!(#left #right) }
}

fn ends(tokens: Option<&TokenStream>) -> Option<(Span, Span)> {
    let mut tokens = tokens?.clone().into_iter();
    let first = tokens.next()?.span();
    Some((first, tokens.last().map_or(first, |last| last.span())))
}

impl ToTokens for Call {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Self { method, argument } = self;
        tokens.extend(quote!(.#method(#argument)));
    }
}
