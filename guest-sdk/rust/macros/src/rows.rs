//! `#[map]`, `#[filter]`, `#[flat_map]`: a function over the values of one row becomes a loop over a block.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, GenericArgument, Ident, ItemFn, LitStr, PathArguments, Result, Token, Type, TypeParamBound};

use crate::signature::{Code, Signature, bound, location, refuse_doubled, refuse_usize, return_type};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowKind {
    Map,
    Filter,
    FlatMap,
}

/// `columns("a", "b")`, or nothing.
pub(crate) struct Columns {
    span: Span,
    pub(crate) names: Vec<LitStr>,
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
    signature.refuse_nullable("write Option<_> here")?;
    signature.columns().try_for_each(|(_, ty)| refuse_usize(ty))?;
    let returned = return_type(&signature.function)?;
    match kind {
        RowKind::Filter => refuse_columns(columns)?,
        RowKind::Map | RowKind::FlatMap => {
            check_names(columns, row_type(kind, returned))?;
            refuse_usize(returned)?;
        }
    }
    let loops = Loops { kind, signature: &signature, returned, names: &columns.names };
    Ok(signature.with_marker(loops.kind_word(), &loops.code()))
}

fn refuse_columns(columns: &Columns) -> Result<()> {
    match columns.names.is_empty() {
        true => Ok(()),
        false => Err(Error::new(columns.span, "a filter adds no columns: remove columns(...), or write #[map]")),
    }
}

// What cannot be seen here, behind an alias, is checked where the types are known (`glue::adds`).
pub(crate) fn check_names(columns: &Columns, row: &Type) -> Result<()> {
    let Type::Tuple(tuple) = row else { return Ok(()) };
    let (named, width) = (columns.names.len(), tuple.elems.len());
    match (named, width) {
        (_, 0) => Err(Error::new_spanned(row, "an output row has at least one value; #[filter] drops rows")),
        (0, 1) => Ok(()),
        (0, _) => Err(Error::new_spanned(
            row,
            format!("{width} output columns need names: write columns({}) in the attribute", example(width)),
        )),
        _ if named == width => Ok(()),
        _ => Err(Error::new(columns.span, format!("{named} names for {width} output columns"))),
    }
}

fn example(width: usize) -> String {
    let names: Vec<_> = (0..width).map(|index| format!("\"{}\"", char::from(b'a' + index as u8 % 26))).collect();
    names.join(", ")
}

/// The type of one output row: what is in a `Result`, and for `#[flat_map]` what is in that, as far as it can be seen.
pub(crate) fn row_type(kind: RowKind, returned: &Type) -> &Type {
    let output = if is_result(returned) { first_argument(returned).unwrap_or(returned) } else { returned };
    match kind {
        RowKind::FlatMap => item_type(output).unwrap_or(output),
        RowKind::Map | RowKind::Filter => output,
    }
}

fn item_type(ty: &Type) -> Option<&Type> {
    match ty {
        Type::Paren(inner) => item_type(&inner.elem),
        Type::Group(inner) => item_type(&inner.elem),
        Type::Array(array) => Some(&array.elem),
        Type::Path(_) => first_argument(ty),
        Type::ImplTrait(it) => it.bounds.iter().find_map(item_of_bound),
        _ => None,
    }
}

/// The first argument: the second of a `Result` is its error.
fn first_argument(ty: &Type) -> Option<&Type> {
    match ty {
        Type::Paren(inner) => first_argument(&inner.elem),
        Type::Group(inner) => first_argument(&inner.elem),
        Type::Path(path) => in_arguments(&path.path.segments.last()?.arguments),
        _ => None,
    }
}

fn in_arguments(arguments: &PathArguments) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = arguments else { return None };
    let first = arguments.args.iter().find(|argument| !matches!(argument, GenericArgument::Lifetime(_)))?;
    match first {
        GenericArgument::Type(ty) => Some(ty),
        GenericArgument::AssocType(item) => Some(&item.ty),
        _ => None,
    }
}

fn item_of_bound(bound: &TypeParamBound) -> Option<&Type> {
    match bound {
        TypeParamBound::Trait(bound) => in_arguments(&bound.path.segments.last()?.arguments),
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

    fn code(&self) -> Code {
        let (needs, adds) = (self.needs(), self.adds());
        let some = |code: TokenStream| quote! { ::core::option::Option::Some(#code) };
        Code { bind: self.bind(), needs: some(needs), adds: some(adds) }
    }

    fn bind(&self) -> TokenStream {
        let config = self.signature.config();
        let readers = self.signature.columns().enumerate().map(|(index, (_, ty))| {
            let (span, reader) = (location(ty), reader(index));
            quote_spanned! { span => let #reader = ::wasmpipe_sdk::glue::column::<#ty>(batch, #index, rows); }
        });
        let run = self.run();
        let bound = bound(&quote! {
            let rows = batch.num_rows();
            #(#readers)*
            #run
        });
        quote! { #config #bound }
    }

    fn needs(&self) -> TokenStream {
        let needs = self.signature.columns().map(|(name, ty)| {
            quote_spanned! { location(ty) => ::wasmpipe_sdk::glue::need::<#ty>(#name, input) }
        });
        quote! { ::std::vec![#(#needs),*] }
    }

    fn adds(&self) -> TokenStream {
        let (names, span) = (self.names, location(self.returned));
        let ident = &self.signature.function.sig.ident;
        let nothing = self.signature.params.iter().map(|_| quote! { ::wasmpipe_sdk::glue::never() });
        let call = quote! { #ident(#(#nothing),*) };
        let call = match self.kind {
            RowKind::Filter => {
                return quote! {
                    ::core::result::Result::<_, ::std::string::String>::Ok(
                        ::std::vec::Vec::<::wasmpipe_sdk::Field>::new()
                    )
                };
            }
            RowKind::Map | RowKind::FlatMap if is_result(self.returned) => {
                quote_spanned! { span => ::wasmpipe_sdk::glue::ok(#call) }
            }
            RowKind::Map | RowKind::FlatMap => call,
        };
        let function = match (self.kind, names.is_empty()) {
            (RowKind::FlatMap, true) => "adds_many_itself",
            (RowKind::FlatMap, false) => "adds_many",
            (_, true) => "adds_itself",
            (_, false) => "adds",
        };
        let function = Ident::new(function, span);
        let own = &self.signature.name;
        let names = if names.is_empty() {
            quote! { #own }
        } else {
            quote! { [#(#names),*] }
        };
        quote_spanned! { span => ::wasmpipe_sdk::glue::#function(#names, || #call) }
    }

    /// Columns that may have nulls and have none get a loop of their own, which never looks for one.
    fn run(&self) -> TokenStream {
        let options: Vec<_> = self.signature.columns().enumerate().filter(|(_, (_, ty))| is_option(ty)).collect();
        let any = self.run_with("at");
        if options.is_empty() {
            return any;
        }
        let valid = self.run_with("at_valid");
        let has_nulls = options.into_iter().map(|(index, (_, ty))| {
            let (span, reader) = (location(ty), reader(index));
            quote_spanned! { span => ::wasmpipe_sdk::glue::has_nulls::<#ty>(&#reader) }
        });
        quote! { if #(#has_nulls)||* { #any } else { #valid } }
    }

    fn run_with(&self, read: &str) -> TokenStream {
        let span = location(self.returned);
        let call = self.call(read);
        let (function, output) = match self.kind {
            RowKind::Map if is_result(self.returned) => {
                ("map", quote_spanned! { span => ::wasmpipe_sdk::glue::told(#call) })
            }
            RowKind::Map => ("map", call),
            RowKind::Filter => ("filter", call),
            RowKind::FlatMap if is_result(self.returned) => ("flat_map", call),
            RowKind::FlatMap => {
                ("flat_map", quote! { ::core::result::Result::<_, ::core::convert::Infallible>::Ok(#call) })
            }
        };
        let function = Ident::new(function, span);
        quote_spanned! { span => ::wasmpipe_sdk::glue::#function(rows, |row| ::core::result::Result::Ok(#output)) }
    }

    fn call(&self, read: &str) -> TokenStream {
        let ident = &self.signature.function.sig.ident;
        let arguments = self.signature.arguments(|index, name, ty| {
            let (span, reader) = (location(ty), reader(index));
            let read = Ident::new(read, span);
            quote_spanned! { span => ::wasmpipe_sdk::glue::#read::<#ty>(&#reader, row, #name)? }
        });
        quote! { #ident(#arguments) }
    }
}

pub(crate) fn reader(index: usize) -> Ident {
    format_ident!("column_{index}")
}

fn is_result(ty: &Type) -> bool {
    is_named(ty, "Result")
}

fn is_option(ty: &Type) -> bool {
    is_named(ty, "Option")
}

fn is_named(ty: &Type, name: &str) -> bool {
    match ty {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == name),
        Type::Paren(inner) => is_named(&inner.elem, name),
        Type::Group(inner) => is_named(&inner.elem, name),
        _ => false,
    }
}
