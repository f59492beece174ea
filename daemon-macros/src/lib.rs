//! The attribute `#[daemon(…)]` of the crate daemon-rt.
#![forbid(unsafe_code)]

use proc_macro::TokenStream;

mod args;
mod entry;
mod expand;
mod tokens;
mod values;

/// stub
#[proc_macro_attribute]
pub fn daemon(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::daemon(args.into(), item.into()).into()
}
