//! Where two types part, for people: of a struct of a hundred fields the one that differs, and not all hundred.

use arrow::datatypes::DataType::{self, Map, Struct};
use arrow::datatypes::{Field, Fields};

use super::{converts, union};

/// Where two types have no union: the innermost column, `metadata.tags[]`, and what it is on either side.
pub fn clash(name: &str, a: &DataType, b: &DataType) -> (String, DataType, DataType) {
    let apart = parts(a, b).into_iter().find(|part| union(part.a, part.b).is_none());
    match apart {
        Some(part) => clash(&format!("{name}{}", part.name), part.a.data_type(), part.b.data_type()),
        None => (name.to_owned(), a.clone(), b.clone()),
    }
}

/// Why a file's column does not go into the type that the job reads, for which [`converts`] is false.
pub fn misfit(name: &str, from: &DataType, to: &DataType) -> String {
    if let Some(field) = unknown(from, to) {
        return format!("column `{name}.{field}` is not known to the job");
    }
    let parts = parts(from, to).into_iter();
    let inner =
        parts.map(|part| (format!("{name}{}", part.name), part.a, part.b)).find(|(_, from, to)| !fits(from, to));
    match inner {
        Some((name, from, to)) if !converts(from.data_type(), to.data_type()) => {
            misfit(&name, from.data_type(), to.data_type())
        }
        Some((name, ..)) => format!("column `{name}` may be null, the job reads it as never null"),
        None => format!("column `{name}` is {from}, the job reads it as {to}"),
    }
}

fn fits(from: &Field, to: &Field) -> bool {
    converts(from.data_type(), to.data_type()) && (to.is_nullable() || !from.is_nullable())
}

/// A field that the other struct does not have.
fn unknown<'a>(from: &'a DataType, to: &DataType) -> Option<&'a str> {
    let (Struct(from), Struct(to)) = (from, to) else { return None };
    from.iter().find(|field| named(to, field.name()).is_none()).map(|field| field.name().as_str())
}

/// What stands at the same place in two types.
struct Part<'a> {
    /// As it follows the name of the whole: `.key`, `[]`.
    name: String,
    a: &'a Field,
    b: &'a Field,
}

fn parts<'a>(a: &'a DataType, b: &'a DataType) -> Vec<Part<'a>> {
    match (a, b) {
        (Struct(a), Struct(b)) => {
            let both = a.iter().filter_map(|field| Some((field, named(b, field.name())?)));
            both.map(|(a, b)| Part { name: format!(".{}", a.name()), a, b }).collect()
        }
        (Map(a, _), Map(b, _)) => {
            let pairs = union::pair(a).zip(union::pair(b)).into_iter();
            let both = pairs.flat_map(|(a, b)| a.iter().zip(b).zip([".key", ".value"]));
            both.map(|((a, b), name)| Part { name: name.to_owned(), a, b }).collect()
        }
        _ => {
            let items = union::item(a).zip(union::item(b)).into_iter();
            items.map(|(a, b)| Part { name: "[]".to_owned(), a, b }).collect()
        }
    }
}

fn named<'a>(fields: &'a Fields, name: &str) -> Option<&'a Field> {
    fields.find(name).map(|(_, field)| field.as_ref())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::DataType::{Int32, Int64, List, Utf8};

    use super::*;

    fn list(item: DataType, nullable: bool) -> DataType {
        List(Arc::new(Field::new("item", item, nullable)))
    }

    fn record(name: &str, data_type: DataType) -> DataType {
        let first = Field::new("first", Int64, true);
        Struct(vec![first, Field::new(name, data_type, true)].into())
    }

    #[test]
    fn the_innermost_column_is_named() {
        let found = clash("m", &record("tags", list(Utf8, true)), &record("tags", list(Int32, true)));
        assert_eq!(found, ("m.tags[]".to_owned(), Utf8, Int32));
        assert_eq!(clash("m", &Utf8, &record("a", Utf8)).0, "m");
        let cases = [
            (Int64, Int32, "column `c` is Int64, the job reads it as Int32"),
            (record("b", Utf8), record("a", Utf8), "column `c.b` is not known to the job"),
            (list(Int64, true), list(Int32, true), "column `c[]` is Int64, the job reads it as Int32"),
            (list(Utf8, true), list(Utf8, false), "column `c[]` may be null, the job reads it as never null"),
        ];
        for (from, to, expected) in cases {
            assert_eq!(misfit("c", &from, &to), expected);
        }
    }
}
