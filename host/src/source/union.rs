//! The one schema of objects whose schemas differ. Columns stand in the order in which they are met, object after object;
//! each has the type that the rule of `columns` finds for all objects that have it. A column that some of them lack is
//! null there.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};

use super::fit::TWICE;
use crate::columns;

/// Types of one column that are kept, to name two objects that do not go together.
const VARIANTS_MAX: usize = 8;
/// Characters of a type in a message.
const TYPE_CHARS_MAX: usize = 120;

/// The schema of the objects that were added.
#[derive(Debug, Default)]
pub struct Union {
    columns: Vec<Column>,
    places: HashMap<String, usize>,
    /// Most objects are like the one before.
    last: Option<SchemaRef>,
}

#[derive(Debug)]
struct Column {
    field: FieldRef,
    /// The first object of each type.
    variants: Vec<Variant>,
    clash: Option<Clash>,
    twice: Option<Twice>,
}

#[derive(Debug)]
struct Variant {
    data_type: DataType,
    object: Arc<str>,
}

/// An object whose type has no union with that of those before.
#[derive(Debug)]
struct Clash {
    data_type: DataType,
    object: Arc<str>,
    /// Objects after it that have none either.
    more: usize,
}

/// An object with more than one column of a name.
#[derive(Debug)]
struct Twice {
    object: Arc<str>,
    count: usize,
}

/// Why a column of the objects cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub struct Defect {
    /// What is wrong, on which objects.
    pub what: String,
    /// What to do.
    pub hint: String,
}

impl Union {
    /// Adds an object, whose schema is in plain types.
    pub fn add(&mut self, schema: &SchemaRef, object: &Arc<str>) {
        if self.last.as_ref() == Some(schema) && self.columns.iter().all(|column| column.clash.is_none()) {
            return;
        }
        let mut counts: HashMap<&str, usize> = HashMap::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let count = counts.entry(field.name()).or_default();
            *count += 1;
            match count {
                1 => self.add_column(field, object),
                count => self.columns[self.places[field.name()]].is_twice(object, *count),
            }
        }
        self.last = Some(Arc::clone(schema));
    }

    fn add_column(&mut self, field: &FieldRef, object: &Arc<str>) {
        match self.places.get(field.name()) {
            Some(place) => self.columns[*place].add(field, object),
            None => {
                self.places.insert(field.name().clone(), self.columns.len());
                self.columns.push(Column::new(field, object));
            }
        }
    }

    /// The columns of all objects: names and types alone. One that has a [`Defect`] is there as the first objects have it.
    pub fn schema(&self) -> SchemaRef {
        let fields: Vec<FieldRef> = self.columns.iter().map(|column| Arc::clone(&column.field)).collect();
        Arc::new(Schema::new(fields))
    }

    /// What keeps the columns that are read from being read.
    pub fn defects(&self, is_read: impl Fn(&str) -> bool) -> Vec<Defect> {
        let read = self.columns.iter().filter(|column| is_read(column.field.name()));
        read.flat_map(|column| column.clash().into_iter().chain(column.doubled())).collect()
    }
}

impl Column {
    fn new(field: &FieldRef, object: &Arc<str>) -> Column {
        let variants = vec![Variant { data_type: field.data_type().clone(), object: Arc::clone(object) }];
        Column { field: Arc::clone(field), variants, clash: None, twice: None }
    }

    fn add(&mut self, field: &FieldRef, object: &Arc<str>) {
        if self.field == *field {
            return;
        }
        let data_type = || field.data_type().clone();
        match columns::union(&self.field, field) {
            Some(union) => {
                let is_new = self.variants.iter().all(|variant| variant.data_type != *field.data_type());
                if is_new && self.variants.len() < VARIANTS_MAX {
                    self.variants.push(Variant { data_type: data_type(), object: Arc::clone(object) });
                }
                self.field = Arc::new(union);
            }
            None => match &mut self.clash {
                Some(clash) => clash.more += 1,
                None => self.clash = Some(Clash { data_type: data_type(), object: Arc::clone(object), more: 0 }),
            },
        }
    }

    fn is_twice(&mut self, object: &Arc<str>, count: usize) {
        let twice = self.twice.get_or_insert_with(|| Twice { object: Arc::clone(object), count });
        if twice.object == *object {
            twice.count = count;
        }
    }

    /// Names the object that clashes, and the first one before with which it does.
    fn clash(&self) -> Option<Defect> {
        let Clash { data_type, object, more } = self.clash.as_ref()?;
        let name = self.field.name();
        let is_apart = |variant: &&Variant| columns::union(&self.of(&variant.data_type), &self.of(data_type)).is_none();
        let other = self.variants.iter().find(is_apart);
        let (before, whose) = other.map_or((self.field.data_type(), "others"), |v| (&v.data_type, v.object.as_ref()));
        let (name, a, b) = columns::clash(name, before, data_type);
        let more = if *more > 0 { format!(" and {more} more") } else { String::new() };
        let what = format!("column `{name}` is {} in {whose}, and {} in {object}{more}", cut(&a), cut(&b));
        let hint = format!(
            "no type holds both: write `{name}` with one type in all objects; or, if nothing else needs it, leave it out with \
             `columns` under [sink]"
        );
        Some(Defect { what, hint })
    }

    fn of(&self, data_type: &DataType) -> arrow::datatypes::Field {
        self.field.as_ref().clone().with_data_type(data_type.clone())
    }

    fn doubled(&self) -> Option<Defect> {
        let Twice { object, count } = self.twice.as_ref()?;
        let what = format!("source object {object}: {count} columns have the name `{}`", self.field.name());
        Some(Defect { what, hint: TWICE.into() })
    }
}

fn cut(data_type: &DataType) -> String {
    let text = data_type.to_string();
    match text.char_indices().nth(TYPE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType::{Int32, Int64, UInt32, UInt64, Utf8};
    use arrow::datatypes::Field;

    use super::*;

    fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
        let fields = fields.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    fn union(objects: &[(&str, SchemaRef)]) -> Union {
        let mut union = Union::default();
        objects.iter().for_each(|(object, schema)| union.add(schema, &(*object).into()));
        union
    }

    #[test]
    fn columns_come_as_they_are_met() {
        let (a, b) = (schema(&[("id", Int32), ("x", Utf8)]), schema(&[("y", Utf8), ("id", Int64)]));
        let all = union(&[("a", Arc::clone(&a)), ("b", b), ("c", a)]);
        assert_eq!(all.schema(), schema(&[("id", Int64), ("x", Utf8), ("y", Utf8)]));
        assert_eq!(all.defects(|_| true), []);
    }

    #[test]
    fn two_objects_that_do_not_go_together_are_named() {
        let of = |data_type| schema(&[("n", data_type)]);
        let objects = [("a", of(UInt64)), ("b", of(UInt32)), ("c", of(Int32)), ("d", of(Int32)), ("e", of(UInt64))];
        let defects = union(&objects).defects(|_| true);
        assert_eq!(defects[0].what, "column `n` is UInt64 in a, and Int32 in c and 1 more");
        // Each goes with the first, but not with the second.
        let objects = [("a", of(UInt32)), ("b", of(Int32)), ("c", of(UInt64))];
        let defects = union(&objects).defects(|_| true);
        assert_eq!(defects[0].what, "column `n` is Int32 in b, and UInt64 in c");
        assert_eq!(union(&objects).defects(|name| name != "n"), []);
    }

    #[test]
    fn two_columns_of_one_name_are_a_defect_of_that_column() {
        let all = union(&[("a", schema(&[("x", Int32), ("y", Utf8), ("x", Int64), ("x", Utf8)]))]);
        assert_eq!(all.schema(), schema(&[("x", Int32), ("y", Utf8)]));
        assert_eq!(all.defects(|_| true)[0].what, "source object a: 3 columns have the name `x`");
        assert_eq!(all.defects(|name| name == "y"), []);
    }
}
