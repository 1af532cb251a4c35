// SPDX-License-Identifier: GPL-2.0

//! Stand-ins for the procedural macros of the `kernel` crate that the shared files use.

use proc_macro::TokenStream;
use quote::quote;
use syn::{
    parse_macro_input,
    DeriveInput,
    ItemMod, //
};

/// `#[kunit_tests(suite)]`: the module is compiled for `cargo test`, which knows `#[test]` by
/// itself.
#[proc_macro_attribute]
pub fn kunit_tests(_suite: TokenStream, item: TokenStream) -> TokenStream {
    let module = parse_macro_input!(item as ItemMod);
    quote!(#[cfg(test)] #module).into()
}

/// `#[derive(Zeroable)]`: implements the trait without checks. The module's own build checks the
/// fields.
#[proc_macro_derive(Zeroable)]
pub fn zeroable(item: TokenStream) -> TokenStream {
    let DeriveInput {
        ident, generics, ..
    } = parse_macro_input!(item as DeriveInput);
    let (params, args, bounds) = generics.split_for_impl();
    quote!(impl #params ::kernel::prelude::Zeroable for #ident #args #bounds {}).into()
}
