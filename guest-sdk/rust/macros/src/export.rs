//! `export!`: finds what the attributes made of each function that it lists.
//!
//! A function and what an attribute made of it have one name, in two namespaces, and one `use` brings both. Where there
//! is no attribute, a type of that name that stands behind (explicit imports win over globs) takes the blame, so that the
//! message can say what is missing.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
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
    let finders = paths.iter().enumerate().map(|(index, path)| finder(index, path));
    let names = (0..paths.len()).map(module);
    Ok(quote! {
        #[doc(hidden)]
        mod only_one_export_per_component {
            #(#finders)*
        }
        ::wasmpipe_sdk::__export!(#(only_one_export_per_component::#names::FUNCTION),*);
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

fn module(index: usize) -> Ident {
    format_ident!("function_{index}")
}

fn finder(index: usize, path: &Path) -> TokenStream {
    let (module, name, import) = (module(index), last(path), import(path));
    let constant = quote_spanned! { location(path) => <#name as ::wasmpipe_sdk::Exported>::FUNCTION };
    quote! {
        pub mod #module {
            #![allow(unused_imports)]
            mod function {
                #[allow(non_camel_case_types)]
                pub enum #name {}
            }
            use self::function::*;
            use #import;
            pub const FUNCTION: ::wasmpipe_sdk::Function = #constant;
        }
    }
}

/// The path as it reads two modules further in.
fn import(path: &Path) -> TokenStream {
    let first = &path.segments[0].ident;
    if path.leading_colon.is_some() || first == "crate" {
        return quote! { #path };
    }
    let rest = path.segments.iter().skip(usize::from(first == "self"));
    quote! { super::super::#(#rest)::* }
}
