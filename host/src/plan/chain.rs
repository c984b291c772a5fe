//! Which columns flow from stage to stage. Columns that nobody reads later are dropped as early as possible: what a
//! flat_map does not carry is not repeated, and what no one needs is not read at all.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};

/// A stage's columns: names in, fields out.
pub(super) struct Link {
    /// Columns that the function takes.
    pub needs: Vec<String>,
    /// Columns that it gives.
    pub adds: SchemaRef,
}

/// The places of a stage's columns in the blocks before and after.
#[derive(Debug, PartialEq)]
pub(super) struct Places {
    pub needs: Vec<usize>,
    pub carry: Vec<usize>,
    pub adds: Vec<usize>,
    pub output: SchemaRef,
}

/// The columns after a stage: replaced ones at their place, new ones at the end.
pub(super) fn after(before: &Schema, adds: &Schema) -> SchemaRef {
    let replaced = |field: &Arc<Field>| match adds.field_with_name(field.name()) {
        Ok(new) => Arc::new(new.clone()),
        Err(_) => Arc::clone(field),
    };
    let mut fields: Vec<Arc<Field>> = before.fields().iter().map(replaced).collect();
    fields.extend(adds.fields().iter().filter(|field| before.field_with_name(field.name()).is_err()).cloned());
    Arc::new(Schema::new(fields))
}

/// The source columns that must be read, in the source's order, and the places of every stage's columns.
pub(super) fn link(source: &Schema, ids: &[String], links: &[Link], sink: &[String]) -> (SchemaRef, Vec<Places>) {
    let live = live_columns(links, sink);
    let read = |name: &String| live[0].contains(name) || ids.contains(name);
    let fields: Vec<Arc<Field>> = source.fields().iter().filter(|field| read(field.name())).cloned().collect();
    let columns = Arc::new(Schema::new(fields));
    let mut before = Arc::clone(&columns);
    let mut places = Vec::with_capacity(links.len());
    for (link, live) in links.iter().zip(&live[1..]) {
        let place = places_of(&before, link, live);
        before = Arc::clone(&place.output);
        places.push(place);
    }
    (columns, places)
}

/// For each stage the columns that are needed before it; the last set is what the sink needs.
fn live_columns(links: &[Link], sink: &[String]) -> Vec<HashSet<String>> {
    let mut live: Vec<HashSet<String>> = vec![sink.iter().cloned().collect()];
    for link in links.iter().rev() {
        let after = live.last().expect("begun with the sink's");
        let mut before: HashSet<String> =
            after.iter().filter(|name| link.adds.field_with_name(name).is_err()).cloned().collect();
        before.extend(link.needs.iter().cloned());
        live.push(before);
    }
    live.reverse();
    live
}

fn places_of(before: &Schema, link: &Link, live: &HashSet<String>) -> Places {
    let place = |name: &String| before.index_of(name).expect("checked when the stage was bound");
    let is_carried = |field: &Field| live.contains(field.name()) && link.adds.field_with_name(field.name()).is_err();
    let carry: Vec<usize> = (0..before.fields().len()).filter(|&index| is_carried(before.field(index))).collect();
    let adds: Vec<usize> =
        (0..link.adds.fields().len()).filter(|&index| live.contains(link.adds.field(index).name())).collect();
    let carried = carry.iter().map(|&index| Arc::clone(&before.fields()[index]));
    let added = adds.iter().map(|&index| Arc::clone(&link.adds.fields()[index]));
    let output = Arc::new(Schema::new(carried.chain(added).collect::<Vec<_>>()));
    Places { needs: link.needs.iter().map(place).collect(), carry, adds, output }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::DataType::{Int64, Utf8};

    fn schema(names: &[&str]) -> SchemaRef {
        Arc::new(Schema::new(names.iter().map(|name| Field::new(*name, Utf8, true)).collect::<Vec<_>>()))
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn text_is_dropped_where_it_is_cut_and_unread_columns_are_not_read() {
        let links = [
            Link { needs: names(&["path", "text"]), adds: schema(&[]) },
            Link { needs: names(&["text"]), adds: schema(&["passage", "tokens"]) },
        ];
        let source = schema(&["path", "crate", "language", "text"]);
        let (columns, places) = link(&source, &names(&["path"]), &links, &names(&["path", "passage"]));
        assert_eq!(columns, schema(&["path", "text"]));
        assert_eq!(places[0].carry, [0, 1]);
        assert_eq!(
            places[1],
            Places { needs: vec![1], carry: vec![0], adds: vec![0], output: schema(&["path", "passage"]) }
        );
    }

    #[test]
    fn an_id_is_read_even_if_nothing_else_wants_it() {
        let (columns, places) = link(&schema(&["id", "a", "b"]), &names(&["id"]), &[], &names(&["b"]));
        assert_eq!(columns, schema(&["id", "b"]));
        assert!(places.is_empty());
    }

    #[test]
    fn a_replaced_column_keeps_its_place_and_takes_the_new_type() {
        let adds = Schema::new(vec![Field::new("b", Int64, false), Field::new("c", Int64, true)]);
        let after = after(&schema(&["a", "b"]), &adds);
        assert_eq!(after.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(after.field(1).data_type(), &Int64);
    }
}
