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

mod batches;
mod derive;
mod rows;
mod signature;

use proc_macro::TokenStream;
use syn::{DeriveInput, ItemFn, parse_macro_input};

use rows::{Columns, RowKind};

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

/// A function over whole record batches.
///
/// It takes `&RecordBatch` and maybe a `#[config]`, and returns a `RecordBatch` with one row for each input row, an
/// `Answer`, or a `Result` of these; an error fails every row of the block. Its columns are declared by
/// `#[map_batches(needs("id": i64, "text": &str), adds("id": i64))]`, or, where they follow from the input or the
/// config, by `#[map_batches(schemas = f)]` with `fn f(input: &Schema, config: &T) -> Result<Schemas, E>`.
#[proc_macro_attribute]
pub fn map_batches(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let declared = parse_macro_input!(attribute as batches::Declared);
    let function = parse_macro_input!(item as ItemFn);
    answer(batches::expand(&declared, function))
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
    let columns = parse_macro_input!(attribute as Columns);
    let function = parse_macro_input!(item as ItemFn);
    answer(rows::expand(kind, &columns, function))
}

fn answer(expanded: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    expanded.unwrap_or_else(|error| error.to_compile_error()).into()
}
