//! Translate the language of `model!` into one generic function that several interpreters execute.
//!
//! This crate is an implementation detail of `armilla-samplers`, whose module `model` documents the language.

mod expand;
mod kinds;
mod syntax;

use proc_macro::TokenStream;

/// What `armilla_samplers::model!` calls, with the path of that crate before the model.
#[proc_macro]
pub fn model(tokens: TokenStream) -> TokenStream {
    let model = syn::parse_macro_input!(tokens as syntax::Model);
    match expand::expand(model) {
        Ok(tokens) => tokens.into(),
        Err(error) => error.into_compile_error().into(),
    }
}
