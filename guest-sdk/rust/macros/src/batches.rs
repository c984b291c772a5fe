//! `#[map_batches]`: a function over whole record batches, with its columns declared in the attribute.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Ident, ItemFn, LitStr, Path, Result, Token, Type, parenthesized};

use crate::signature::{Code, Param, Signature, location, refuse_doubled, return_type};

const ALLOWED: &str = "write needs(\"id\": i64, ...), adds(\"id\": i64, ...), or schemas = function";

/// What stands in the attribute.
pub(crate) enum Declared {
    /// `needs("id": i64), adds("id": i64)`
    Columns { needs: Vec<Column>, adds: Vec<Column> },
    /// `schemas = function`
    Function(Path),
}

pub(crate) struct Column {
    name: LitStr,
    ty: Type,
}

impl Parse for Declared {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let (mut needs, mut adds) = (None, None);
        while !input.is_empty() {
            let word: Ident = input.parse().map_err(|error| Error::new(error.span(), ALLOWED))?;
            match word.to_string().as_str() {
                "needs" if needs.is_none() => needs = Some(columns(input)?),
                "adds" if adds.is_none() => adds = Some(columns(input)?),
                "schemas" if needs.is_none() && adds.is_none() => return schemas(input),
                _ => return Err(Error::new(word.span(), ALLOWED)),
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        match (needs, adds) {
            (Some(needs), Some(adds)) => Ok(Self::Columns { needs, adds }),
            _ => Err(Error::new(input.span(), ALLOWED)),
        }
    }
}

fn schemas(input: ParseStream<'_>) -> Result<Declared> {
    input.parse::<Token![=]>()?;
    let function = input.parse()?;
    match input.is_empty() {
        true => Ok(Declared::Function(function)),
        false => Err(Error::new(input.span(), "nothing follows `schemas = function`")),
    }
}

fn columns(input: ParseStream<'_>) -> Result<Vec<Column>> {
    let list;
    parenthesized!(list in input);
    let columns: Vec<_> = Punctuated::<Column, Token![,]>::parse_terminated(&list)?.into_iter().collect();
    let mut seen = Vec::new();
    columns.iter().try_for_each(|column| refuse_doubled(&column.name, &mut seen))?;
    Ok(columns)
}

impl Parse for Column {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name = input.parse().map_err(|error| Error::new(error.span(), "write a column as \"name\": type"))?;
        input.parse::<Token![:]>()?;
        Ok(Self { name, ty: input.parse()? })
    }
}

pub(crate) fn expand(declared: &Declared, function: ItemFn) -> Result<TokenStream> {
    let signature = Signature::new(function)?;
    check_parameters(&signature)?;
    return_type(&signature.function)?;
    let ident = &signature.function.sig.ident;
    let config = signature.config();
    let schemas = declared.expand(&signature);
    let arguments = signature.arguments(|_, _, _| quote! { batch });
    let bind = quote! {
        #config
        #schemas
        ::core::result::Result::Ok(::wasmpipe_sdk::glue::Bound {
            needs,
            adds,
            work: ::std::boxed::Box::new(move |batch| {
                ::wasmpipe_sdk::glue::batches(batch.num_rows(), #ident(#arguments))
            }),
        })
    };
    let (needs, adds) = declared.described();
    Ok(signature.with_marker("MapBatches", &Code { bind, needs, adds }))
}

fn check_parameters(signature: &Signature) -> Result<()> {
    let allowed = "allowed: (batch: &RecordBatch), and after it #[config] config: &Config and #[state] state: &State";
    let inputs = &signature.function.sig.inputs;
    for (index, (input, param)) in inputs.iter().zip(&signature.params).enumerate() {
        if (index == 0) != matches!(param, Param::Column { .. }) {
            return Err(Error::new_spanned(input, allowed));
        }
    }
    match inputs.is_empty() {
        true => Err(Error::new_spanned(&signature.function.sig.ident, allowed)),
        false => Ok(()),
    }
}

impl Declared {
    /// Code that settles `needs` and `adds`.
    fn expand(&self, signature: &Signature) -> TokenStream {
        match self {
            Self::Function(path) => {
                let config = signature.config_type().map(|_| quote! { , &config });
                quote! { let (needs, adds) = ::wasmpipe_sdk::glue::schemas(#path(input #config))?; }
            }
            Self::Columns { needs, adds } => {
                let (needs, adds) = (Column::needs(needs), Column::adds(adds));
                quote! {
                    let input = ::core::option::Option::Some(input);
                    let (needs, adds) = (#needs, #adds);
                }
            }
        }
    }

    /// What people are told before anything is bound.
    fn described(&self) -> (TokenStream, TokenStream) {
        match self {
            Self::Function(_) => (quote! { ::core::option::Option::None }, quote! { ::core::option::Option::None }),
            Self::Columns { needs, adds } => {
                let (needs, adds) = (Column::needs(needs), Column::adds(adds));
                (quote! { ::core::option::Option::Some(#needs) }, quote! { ::core::option::Option::Some(#adds) })
            }
        }
    }
}

impl Column {
    fn needs(columns: &[Self]) -> TokenStream {
        let fields = columns.iter().map(|Self { name, ty }| {
            quote_spanned! { location(ty) => ::wasmpipe_sdk::glue::need::<#ty>(#name, input) }
        });
        quote! { ::std::vec![#(#fields),*] }
    }

    fn adds(columns: &[Self]) -> TokenStream {
        let fields = columns.iter().map(|Self { name, ty }| {
            quote_spanned! { location(ty) => ::wasmpipe_sdk::glue::add::<#ty>(#name) }
        });
        quote! { ::std::vec![#(#fields),*] }
    }
}
