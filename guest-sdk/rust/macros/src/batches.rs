//! `#[map_batches]`: a function over whole record batches, with its columns declared in the attribute; or over whole
//! columns, which its signature declares.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Ident, ItemFn, LitStr, Path, Result, Token, Type, parenthesized};

use crate::rows::{Columns, RowKind, check_names, reader, row_type};
use crate::signature::{Code, Param, Signature, bound, location, refuse_doubled, return_type};

const ALLOWED: &str = "allowed here: needs(\"id\": i64), adds(\"twice\": i64), or schemas = function, for a function \
                       over a whole &RecordBatch; columns(\"a\", \"b\") or nothing for one over columns";

/// What stands in the attribute.
pub(crate) enum Declared {
    /// `needs("id": i64), adds("id": i64)`
    Columns { needs: Vec<Column>, adds: Vec<Column> },
    /// `schemas = function`
    Function(Path),
    /// `columns("a", "b")`, or nothing: the signature says the rest.
    Signature(Columns),
}

pub(crate) struct Column {
    name: LitStr,
    ty: Type,
}

impl Parse for Declared {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.is_empty() || input.fork().parse::<Ident>().is_ok_and(|word| word == "columns") {
            return input.parse().map(Self::Signature);
        }
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
    if let Declared::Signature(columns) = declared {
        return typed(columns, &signature);
    }
    check_parameters(&signature)?;
    signature.refuse_nullable("in a whole &RecordBatch, needs(\"id\": Option<i64>) lets nulls in")?;
    return_type(&signature.function)?;
    let ident = &signature.function.sig.ident;
    let config = signature.config();
    let arguments = signature.arguments(|_, _, _| quote! { batch });
    let work = quote! { ::wasmpipe_sdk::glue::batches(batch.num_rows(), #ident(#arguments)) };
    let bound = declared.bound(&signature, &work);
    let (needs, adds) = declared.columns();
    Ok(signature.with_marker("MapBatches", &Code { bind: quote! { #config #bound }, needs, adds }))
}

fn typed(columns: &Columns, signature: &Signature) -> Result<TokenStream> {
    signature.params.iter().try_for_each(check_column)?;
    let returned = return_type(&signature.function)?;
    check_names(columns, row_type(RowKind::Map, returned))?;
    let ident = &signature.function.sig.ident;
    let own = &signature.name;
    let names = &columns.names;
    let names = if names.is_empty() {
        quote! { &[#own] }
    } else {
        quote! { &[#(#names),*] }
    };
    let nothing = signature.params.iter().map(|_| quote! { ::wasmpipe_sdk::glue::never() });
    let adds = quote_spanned! { location(returned) =>
        ::wasmpipe_sdk::glue::adds_columns(#names, || #ident(#(#nothing),*))
    };
    let needs = signature.params.iter().filter_map(|param| match param {
        Param::Column { name, ty, nullable } => {
            let nullable = nullable.is_some();
            Some(quote_spanned! { location(ty) => ::wasmpipe_sdk::glue::need_column::<#ty>(#name, input, #nullable) })
        }
        _ => None,
    });
    let needs = quote! { ::std::vec![#(#needs),*] };
    let readers = signature.columns().enumerate().map(|(index, (_, ty))| {
        let reader = reader(index);
        quote_spanned! { location(ty) => let #reader = ::wasmpipe_sdk::glue::whole::<#ty>(batch, #index); }
    });
    let arguments = signature.arguments(|index, _, _| {
        let reader = reader(index);
        quote! { #reader }
    });
    let config = signature.config();
    let bound = bound(&quote! {
        #(#readers)*
        ::wasmpipe_sdk::glue::columns(batch.num_rows(), #ident(#arguments))
    });
    let some = |code: TokenStream| quote! { ::core::option::Option::Some(#code) };
    let (needs, adds) = (some(needs), some(quote! { ::core::result::Result::Ok(#adds) }));
    Ok(signature.with_marker("MapBatches", &Code { bind: quote! { #config #bound }, needs, adds }))
}

fn check_column(param: &Param) -> Result<()> {
    let Param::Column { ty, nullable, .. } = param else { return Ok(()) };
    let Type::Reference(reference) = &**ty else { return Ok(()) };
    match &*reference.elem {
        Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "RecordBatch") => {
            Err(Error::new_spanned(
                ty,
                "a function over a whole &RecordBatch declares its columns: write \
                 #[map_batches(needs(\"id\": i64), adds(\"twice\": i64))] or #[map_batches(schemas = function)]",
            ))
        }
        Type::Slice(_) => match nullable {
            Some(span) => Err(Error::new(*span, "a slice has no room for nulls: take an array, such as &Float64Array")),
            None => Ok(()),
        },
        _ => Ok(()),
    }
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
    fn bound(&self, signature: &Signature, work: &TokenStream) -> TokenStream {
        let Self::Function(path) = self else { return bound(work) };
        let config = signature.config_type().map(|_| quote! { , &config });
        quote! {
            let (needs, adds) = ::wasmpipe_sdk::glue::schemas(#path(input #config))?;
            ::core::result::Result::Ok(::wasmpipe_sdk::glue::Bound {
                needs,
                adds,
                work: ::std::boxed::Box::new(move |batch| { #work }),
            })
        }
    }

    /// What is known before anything is bound.
    fn columns(&self) -> (TokenStream, TokenStream) {
        match self {
            Self::Columns { needs, adds } => {
                let (needs, adds) = (Column::needs(needs), Column::adds(adds));
                let some = |code: TokenStream| quote! { ::core::option::Option::Some(#code) };
                (some(needs), some(quote! { ::core::result::Result::Ok(#adds) }))
            }
            Self::Function(_) | Self::Signature(_) => {
                (quote! { ::core::option::Option::None }, quote! { ::core::option::Option::None })
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
