//! The attribute [`on`](macro@on): a function that is written for one framework's arrays takes those of
//! any.
//!
//! Programs use the package `arraybridge`, which re-exports it as `arraybridge::on`.

mod body;
mod expand;
mod names;
mod options;
mod parameters;

use proc_macro::TokenStream;

// Its examples need the package arraybridge, which runs them; `cargo test --doc` would run them here too.
#[cfg_attr(not(doctest), doc = include_str!("on.md"))]
#[proc_macro_attribute]
pub fn on(options: TokenStream, item: TokenStream) -> TokenStream {
    match expand::expand(options.into(), &item.into()) {
        Ok(written) => written.into(),
        Err(error) => error.into_compile_error().into(),
    }
}
