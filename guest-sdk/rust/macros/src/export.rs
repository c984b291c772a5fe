//! `export!`: finds what the attributes made of each function that it lists.
//!
//! A function and what an attribute made of it have one name, in two namespaces. Where there is no attribute, a type of
//! that name that stands further out takes the blame, so that the message can say what is missing.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Ident, Path, PathArguments, Result, Token};

use crate::signature::location;

/// `long_enough, texts::words`
pub(crate) struct List(Vec<Path>);

impl Parse for List {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let allowed = "list the functions of the component: export!(long_enough, texts::words)";
        if input.is_empty() {
            return Err(Error::new(input.span(), allowed));
        }
        let paths = Punctuated::<Path, Token![,]>::parse_terminated(input);
        let paths: Vec<Path> = paths.map_err(|error| Error::new(error.span(), allowed))?.into_iter().collect();
        match paths
            .iter()
            .find(|path| path.segments.iter().any(|segment| !matches!(segment.arguments, PathArguments::None)))
        {
            Some(path) => Err(Error::new_spanned(path, allowed)),
            None => Ok(Self(paths)),
        }
    }
}

pub(crate) fn expand(List(paths): &List) -> Result<TokenStream> {
    let mut seen = Vec::new();
    paths.iter().try_for_each(|path| refuse_second(path, &mut seen))?;
    let functions = paths.iter().map(finder);
    Ok(quote! {
        #[doc(hidden)]
        mod only_one_export_per_component {}
        ::wasmpipe_sdk::__export!(#(#functions),*);
    })
}

fn refuse_second(path: &Path, seen: &mut Vec<String>) -> Result<()> {
    let name = last(path).unraw().to_string();
    if seen.contains(&name) {
        return Err(Error::new_spanned(
            path,
            format!("`{name}` is exported twice: a pipeline file names a function by its name alone; rename one"),
        ));
    }
    seen.push(name);
    Ok(())
}

fn last(path: &Path) -> &Ident {
    &path.segments[path.segments.len() - 1].ident
}

// The inner block's glob finds the type before the outer block's stand-in does. The function itself is named too: where
// there is none, the compiler says so, and says no more.
fn finder(path: &Path) -> TokenStream {
    let (name, around) = (last(path), around(path));
    let function = quote_spanned! { location(path) => ::wasmpipe_sdk::glue::offered::<#name, _>(&#around::#name) };
    quote! {{
        #[allow(non_camel_case_types, dead_code)]
        enum #name {}
        {
            #[allow(unused_imports)]
            use #around::*;
            #function
        }
    }}
}

/// The module that the path's last name stands in.
fn around(path: &Path) -> TokenStream {
    let (colon, first) = (path.leading_colon, &path.segments[0].ident);
    let modules = path.segments.iter().take(path.segments.len() - 1);
    if colon.is_some() || first == "crate" || first == "self" {
        return quote! { #colon #(#modules)::* };
    }
    quote! { self #(::#modules)* }
}
