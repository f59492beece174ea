//! The message that `started` may be in place of a function.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::LitStr;

/// The hook that prints it. The compiler checks the message as that of a `println!`, in which `pid` is
/// a variable.
pub(crate) fn hook(message: &LitStr, root: &TokenStream) -> Result<TokenStream, String> {
    if message.value().is_empty() {
        return Err("the message must not be empty".to_owned());
    }
    // The message may have been written in a macro, which sees only its own names.
    let pid = Ident::new("pid", Span::call_site().resolved_at(message.span()));
    let started = Ident::new("started", Span::mixed_site());
    Ok(quote! {
        |#started: &#root::Started| {
            let #pid = #started.pid;
            _ = #pid;
            #root::hooks::say(::core::format_args!(#message));
        }
    })
}

#[cfg(test)]
mod tests {
    use quote::quote;

    #[test]
    fn the_compiler_checks_the_message() {
        let message = syn::parse_quote!("running, pid {pid}");
        let hook = super::hook(&message, &quote!(rt)).expect("a message");
        let expected = quote! {
            |started: &rt::Started| {
                let pid = started.pid;
                _ = pid;
                rt::hooks::say(::core::format_args!("running, pid {pid}"));
            }
        };
        assert_eq!(hook.to_string(), expected.to_string());
    }
}
