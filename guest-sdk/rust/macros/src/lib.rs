//! The attributes of wasmpipe-sdk. Each leaves the function as it is and puts beside it a type of the same name that
//! says how to call it on a block: which columns it needs and adds, and the loop over the rows.
//!
//! Types are checked by the SDK's traits, not here: aliases work, and a wrong type is reported where the author wrote
//! it.
//!
//!  - `signature`: a function as written: parameters, columns, config
//!  - `rows`: `#[map]`, `#[filter]`, `#[flat_map]`
//!  - `batches`: `#[map_batches]`
//!  - `derive`: `#[derive(Columns)]`
//!  - `export`: `export!`

mod batches;
mod derive;
mod export;
mod rows;
mod signature;

use proc_macro::TokenStream;
use quote::{ToTokens, quote};
use syn::{DeriveInput, Item, ItemFn, parse_macro_input};

use rows::RowKind;

/// One output row per input row: `#[map]`, or `#[map(columns("a", "b"))]` for a tuple.
///
/// The function returns one value, a tuple, or a `Result` of these; an error is a row error. A single column that is
/// not named has the function's name.
#[proc_macro_attribute]
pub fn map(attribute: TokenStream, item: TokenStream) -> TokenStream {
    row_function(RowKind::Map, attribute, item)
}

/// Keeps a row or drops it: the function returns `bool` (true keeps) or a `Result` of it; an error is a row error.
#[proc_macro_attribute]
pub fn filter(attribute: TokenStream, item: TokenStream) -> TokenStream {
    row_function(RowKind::Filter, attribute, item)
}

/// Any number of output rows per input row: `#[flat_map]`, or `#[flat_map(columns("a", "b"))]` for tuples.
///
/// The function returns something to iterate over, such as `Vec<_>` or `impl Iterator<Item = _>`, of values or
/// tuples, or a `Result` of it; an error is a row error.
#[proc_macro_attribute]
pub fn flat_map(attribute: TokenStream, item: TokenStream) -> TokenStream {
    row_function(RowKind::FlatMap, attribute, item)
}

/// A function over whole columns, or over whole record batches.
///
/// Over columns, `#[map_batches] fn product(x: &Float64Array, y: &[f64]) -> Vec<f64>` takes them by their names and answers
/// one row for each, in one column of the function's name or in a tuple with `#[map_batches(columns("a", "b"))]`. Nulls come
/// in only where `#[nullable]` stands before an array.
///
/// Over a batch, it takes `&RecordBatch` and maybe a `#[config]`, and returns a `RecordBatch` with one row for each input row, an
/// `Answer`, or a `Result` of these; an error fails every row of the block. Its columns are declared by
/// `#[map_batches(needs("id": i64, "text": &str), adds("id": i64))]`, or, where they follow from the input or the
/// config, by `#[map_batches(schemas = f)]` with `fn f(input: &Schema, config: &T) -> Result<Schemas, E>`.
#[proc_macro_attribute]
pub fn map_batches(attribute: TokenStream, item: TokenStream) -> TokenStream {
    attributed(item, |function| batches::expand(&syn::parse(attribute)?, function))
}

/// Lists the functions that a component offers: `wasmpipe_sdk::export!(long_enough, texts::words);`.
///
/// It stands once per component, outside of functions. Each name is a function that carries one of the attributes, or a
/// path to one. On wasm32 it makes the component's exports. Everywhere it defines `WASMPIPE_FUNCTIONS`, so that a native
/// test can bind and call the functions as the host does, through `wasmpipe_sdk::component`.
#[proc_macro]
pub fn export(list: TokenStream) -> TokenStream {
    let list = parse_macro_input!(list as export::List);
    answer(export::expand(&list))
}

/// A struct whose fields are columns.
///
/// Returned from `#[map]` or `#[flat_map]` it makes a column of each field. As a parameter, within a list or another struct,
/// and in a `wasmpipe_sdk::Struct`, it is one struct column. `#[column("name")]` renames a field.
#[proc_macro_derive(Columns, attributes(column))]
pub fn columns(item: TokenStream) -> TokenStream {
    answer(derive::expand(&parse_macro_input!(item as DeriveInput)))
}

fn row_function(kind: RowKind, attribute: TokenStream, item: TokenStream) -> TokenStream {
    attributed(item, |function| rows::expand(kind, &syn::parse(attribute)?, function))
}

/// A function that is refused is there all the same, and so is the type beside it: whatever names it has no error of its
/// own.
fn attributed(item: TokenStream, expand: impl FnOnce(ItemFn) -> syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    let (error, rest) = match syn::parse::<Item>(item) {
        Ok(Item::Fn(function)) => match expand(function.clone()) {
            Ok(expanded) => return expanded.into(),
            Err(error) => (error, signature::refused(function)),
        },
        Ok(other) => {
            let message = "this attribute stands before a function: `fn words(text: &str) -> u32 { .. }`";
            (syn::Error::new_spanned(&other, message), other.into_token_stream())
        }
        Err(error) => (error, proc_macro2::TokenStream::new()),
    };
    let error = error.to_compile_error();
    quote! { #error #rest }.into()
}

fn answer(expanded: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    expanded.unwrap_or_else(|error| error.to_compile_error()).into()
}
