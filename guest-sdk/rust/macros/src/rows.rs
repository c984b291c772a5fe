//! `#[map]`, `#[filter]`, `#[flat_map]`: a function over the values of one row becomes a loop over a block.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, GenericArgument, Ident, ItemFn, LitStr, PathArguments, Result, Token, Type, TypeParamBound};

use crate::signature::{Param, Signature, refuse_doubled, return_type};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowKind {
    Map,
    Filter,
    FlatMap,
}

/// `columns("a", "b")`, or nothing.
pub(crate) struct Columns {
    span: Span,
    names: Vec<LitStr>,
}

impl Parse for Columns {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let span = input.span();
        if input.is_empty() {
            return Ok(Self { span, names: Vec::new() });
        }
        let word: Ident = input.parse().map_err(|error| not_columns(error.span()))?;
        if word != "columns" {
            return Err(not_columns(word.span()));
        }
        let list;
        syn::parenthesized!(list in input);
        let names: Vec<_> = Punctuated::<LitStr, Token![,]>::parse_terminated(&list)?.into_iter().collect();
        if names.is_empty() || !input.is_empty() {
            return Err(not_columns(word.span()));
        }
        let mut seen = Vec::new();
        names.iter().try_for_each(|name| refuse_doubled(name, &mut seen))?;
        Ok(Self { span, names })
    }
}

fn not_columns(span: Span) -> Error {
    Error::new(span, "allowed here: columns(\"a\", \"b\"), the names of the output columns")
}

pub(crate) fn expand(kind: RowKind, columns: &Columns, function: ItemFn) -> Result<TokenStream> {
    let signature = Signature::new(function)?;
    let returned = return_type(&signature.function)?;
    let names = match kind {
        RowKind::Filter => refuse_columns(columns)?,
        RowKind::Map | RowKind::FlatMap => names(columns, returned, &signature.name)?,
    };
    let loops = Loops { kind, signature: &signature, returned, names: &names };
    Ok(signature.with_marker(loops.kind_word(), &loops.bind()))
}

fn refuse_columns(columns: &Columns) -> Result<Vec<LitStr>> {
    match columns.names.is_empty() {
        true => Ok(Vec::new()),
        false => Err(Error::new(columns.span, "a filter adds no columns; #[map] does")),
    }
}

// What cannot be seen here, behind an alias, is checked where the types are known (`glue::adds`).
fn names(columns: &Columns, returned: &Type, function: &str) -> Result<Vec<LitStr>> {
    let width = tuple_width(returned);
    match (columns.names.len(), width) {
        (0, Some(width)) if width != 1 => Err(Error::new_spanned(
            returned,
            format!("{width} output columns need names: write columns(...) with {width} names in the attribute"),
        )),
        (0, _) => Ok(vec![LitStr::new(function, Span::call_site())]),
        (named, Some(width)) if named != width => {
            Err(Error::new(columns.span, format!("{named} names for {width} output columns")))
        }
        _ => Ok(columns.names.clone()),
    }
}

/// The width of the first tuple in a type, looking into `Result<_, _>`, `Vec<_>`, `impl Iterator<Item = _>` and so on.
fn tuple_width(ty: &Type) -> Option<usize> {
    match ty {
        Type::Tuple(tuple) => Some(tuple.elems.len()).filter(|width| *width > 0),
        Type::Paren(inner) => tuple_width(&inner.elem),
        Type::Group(inner) => tuple_width(&inner.elem),
        Type::Array(array) => tuple_width(&array.elem),
        Type::Path(path) => path.path.segments.last().and_then(|last| width_in_arguments(&last.arguments)),
        Type::ImplTrait(it) => it.bounds.iter().find_map(width_in_bound),
        Type::TraitObject(it) => it.bounds.iter().find_map(width_in_bound),
        _ => None,
    }
}

fn width_in_arguments(arguments: &PathArguments) -> Option<usize> {
    let PathArguments::AngleBracketed(arguments) = arguments else { return None };
    // Only the first: the second of a `Result` is its error.
    let first = arguments.args.iter().find(|argument| !matches!(argument, GenericArgument::Lifetime(_)))?;
    match first {
        GenericArgument::Type(ty) => tuple_width(ty),
        GenericArgument::AssocType(item) => tuple_width(&item.ty),
        _ => None,
    }
}

fn width_in_bound(bound: &TypeParamBound) -> Option<usize> {
    match bound {
        TypeParamBound::Trait(bound) => width_in_arguments(&bound.path.segments.last()?.arguments),
        _ => None,
    }
}

struct Loops<'a> {
    kind: RowKind,
    signature: &'a Signature,
    returned: &'a Type,
    names: &'a [LitStr],
}

impl Loops<'_> {
    fn kind_word(&self) -> &'static str {
        match self.kind {
            RowKind::Map => "Map",
            RowKind::Filter => "Filter",
            RowKind::FlatMap => "FlatMap",
        }
    }

    fn bind(&self) -> TokenStream {
        let config = self.signature.config();
        let needs = self.signature.columns().map(|(name, ty)| {
            let span = location(ty);
            quote_spanned! { span => ::wasmpipe_sdk::glue::need::<#ty>(#name) }
        });
        let readers = self.signature.columns().enumerate().map(|(index, (_, ty))| {
            let (span, reader) = (location(ty), reader(index));
            quote_spanned! { span => let #reader = ::wasmpipe_sdk::glue::column::<#ty>(batch, #index); }
        });
        let (adds, run) = (self.adds(), self.run());
        quote! {
            #config
            ::core::result::Result::Ok(::wasmpipe_sdk::glue::Bound {
                needs: ::std::vec![#(#needs),*],
                adds: #adds,
                work: ::std::boxed::Box::new(move |batch| {
                    #(#readers)*
                    #run
                }),
            })
        }
    }

    fn adds(&self) -> TokenStream {
        let (names, span) = (self.names, location(self.returned));
        let ident = &self.signature.function.sig.ident;
        let nothing = self.signature.params.iter().map(|_| quote! { ::wasmpipe_sdk::glue::never() });
        let call = quote! { #ident(#(#nothing),*) };
        match self.kind {
            RowKind::Filter => quote! { ::std::vec::Vec::new() },
            RowKind::Map => quote_spanned! { span => ::wasmpipe_sdk::glue::adds([#(#names),*], || #call)? },
            RowKind::FlatMap if is_result(self.returned) => quote_spanned! { span =>
                ::wasmpipe_sdk::glue::adds_many([#(#names),*], || ::wasmpipe_sdk::glue::ok(#call))?
            },
            RowKind::FlatMap => quote_spanned! { span => ::wasmpipe_sdk::glue::adds_many([#(#names),*], || #call)? },
        }
    }

    fn run(&self) -> TokenStream {
        let span = location(self.returned);
        let call = self.call();
        match self.kind {
            RowKind::Map => quote_spanned! { span => ::wasmpipe_sdk::glue::map(batch.num_rows(), |row| #call) },
            RowKind::Filter => quote_spanned! { span => ::wasmpipe_sdk::glue::filter(batch.num_rows(), |row| #call) },
            RowKind::FlatMap if is_result(self.returned) => {
                quote_spanned! { span => ::wasmpipe_sdk::glue::flat_map(batch.num_rows(), |row| #call) }
            }
            RowKind::FlatMap => quote_spanned! { span =>
                ::wasmpipe_sdk::glue::flat_map(batch.num_rows(), |row| {
                    ::core::result::Result::<_, ::core::convert::Infallible>::Ok(#call)
                })
            },
        }
    }

    fn call(&self) -> TokenStream {
        let ident = &self.signature.function.sig.ident;
        let mut index = 0..;
        let arguments = self.signature.params.iter().map(|param| match param {
            Param::Config { .. } => quote! { &config },
            Param::Column { ty, .. } => {
                let (span, reader) = (location(&**ty), reader(index.next().unwrap_or_default()));
                quote_spanned! { span => <#ty as ::wasmpipe_sdk::Param<'_>>::at(#reader, row) }
            }
        });
        quote! { #ident(#(#arguments),*) }
    }
}

fn reader(index: usize) -> Ident {
    format_ident!("column_{index}")
}

/// Errors are shown where the author wrote `tokens`; names are looked up where the attribute stands.
fn location(tokens: &impl Spanned) -> Span {
    Span::call_site().located_at(tokens.span())
}

fn is_result(ty: &Type) -> bool {
    match ty {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == "Result"),
        Type::Paren(inner) => is_result(&inner.elem),
        Type::Group(inner) => is_result(&inner.elem),
        _ => false,
    }
}
