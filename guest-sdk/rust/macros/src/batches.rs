//! `#[map_batches]`: a function over whole record batches, with its columns declared in the attribute.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Ident, ItemFn, LitStr, Path, Result, Token, Type, parenthesized};

use crate::signature::{Param, Signature, refuse_doubled, return_type};

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
    let config_argument = signature.has_config().then(|| quote! { , &config });
    let schemas = declared.expand(config_argument.as_ref());
    let bind = quote! {
        #config
        #schemas
        ::core::result::Result::Ok(::wasmpipe_sdk::glue::Bound {
            needs,
            adds,
            work: ::std::boxed::Box::new(move |batch| {
                ::wasmpipe_sdk::glue::batches(batch.num_rows(), #ident(batch #config_argument))
            }),
        })
    };
    Ok(signature.with_marker("MapBatches", &bind))
}

fn check_parameters(signature: &Signature) -> Result<()> {
    let allowed = "allowed: (batch: &RecordBatch) or (batch: &RecordBatch, #[config] config: &Config)";
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
    fn expand(&self, config_argument: Option<&TokenStream>) -> TokenStream {
        match self {
            Self::Function(path) => quote! {
                let (needs, adds) = ::wasmpipe_sdk::glue::schemas(#path(input #config_argument))?;
            },
            Self::Columns { needs, adds } => {
                let (needs, adds) = (Column::expand(needs, "need"), Column::expand(adds, "add"));
                quote! { let (needs, adds) = (#needs, #adds); }
            }
        }
    }
}

impl Column {
    fn expand(columns: &[Self], function: &str) -> TokenStream {
        let fields = columns.iter().map(|Self { name, ty }| {
            let span = Span::call_site().located_at(ty.span());
            let function = Ident::new(function, span);
            quote_spanned! { span => ::wasmpipe_sdk::glue::#function::<#ty>(#name) }
        });
        quote! { ::std::vec![#(#fields),*] }
    }
}
