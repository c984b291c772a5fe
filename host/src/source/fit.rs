//! An object's columns in the job's schema: whether they fit, which of them are decoded, and what becomes of a batch. What
//! fits is decided by one rule, that of `columns`; nothing of an object that fits is lost.

use std::collections::{HashMap, HashSet};

use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use super::{Opened, SourceError};
use crate::columns;

/// Defects of one object that are said.
const DEFECTS_MAX: usize = 8;

/// The columns a job reads, in the job's types.
#[derive(Clone, Debug)]
pub struct Columns {
    /// What every batch looks like. A column that an object lacks is null in its rows.
    pub schema: SchemaRef,
    /// Columns that every object must have.
    pub required: Vec<String>,
    /// All columns that the job knows, if it is to lose none: an object with another one is refused.
    pub known: Option<SchemaRef>,
}

impl Opened {
    /// Checks that no value of the object would be lost in the columns; all defects in one message.
    pub fn check(&self, columns: &Columns) -> Result<(), SourceError> {
        self.refuse_unreadable(&columns.schema)?;
        let own = Own::of(self.columns());
        let lacks = columns.required.iter().filter(|name| own.place(name).is_none()).map(|name| Defect::lacks(name));
        let fields = columns.schema.fields().iter();
        let defects: Vec<Defect> = lacks
            .chain(fields.filter_map(|field| own.defect(field)))
            .chain(own.unknown(columns.known.as_deref()).map(Defect::unknown))
            .collect();
        match defects.as_slice() {
            [] => Ok(()),
            defects => Err(self.differs(defects)),
        }
    }

    fn differs(&self, defects: &[Defect]) -> SourceError {
        let mut said: Vec<&str> = defects.iter().take(DEFECTS_MAX).map(|defect| defect.what.as_str()).collect();
        // A name that the job reads twice has its defect twice.
        said.dedup();
        let more = defects.len().saturating_sub(DEFECTS_MAX);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let (object, message) = (self.object.path.to_string(), format!("{}{more}", said.join("; ")));
        SourceError::Differs { object, message, hint: defects[0].hint }
    }

    /// Refuses columns that nobody here can read.
    fn refuse_unreadable(&self, schema: &Schema) -> Result<(), SourceError> {
        let names: HashSet<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let first = self.unreadable().into_iter().find(|(name, _)| names.contains(name));
        first.map_or(Ok(()), |(_, error)| Err(error))
    }
}

/// What an object has: the first column of each name, and how many there are.
struct Own<'a> {
    schema: &'a Schema,
    named: HashMap<&'a str, (usize, usize)>,
}

impl<'a> Own<'a> {
    fn of(schema: &'a Schema) -> Own<'a> {
        let mut named = HashMap::with_capacity(schema.fields().len());
        for (place, field) in schema.fields().iter().enumerate() {
            named.entry(field.name().as_str()).or_insert((place, 0)).1 += 1;
        }
        Own { schema, named }
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.named.get(name).map(|(place, _)| *place)
    }

    fn defect(&self, wanted: &FieldRef) -> Option<Defect> {
        let (place, count) = *self.named.get(wanted.name().as_str())?;
        let (name, from, to) = (wanted.name(), self.schema.field(place).data_type(), wanted.data_type());
        match count {
            1 if columns::converts(from, to) => None,
            1 => Some(Defect { what: columns::misfit(name, from, to), hint: OTHER_TYPE }),
            _ => Some(Defect { what: format!("{count} columns have the name `{name}`"), hint: TWICE }),
        }
    }

    /// Columns that are here and that the job does not know.
    fn unknown<'b>(&'b self, known: Option<&'b Schema>) -> impl Iterator<Item = &'b str> {
        let names: Option<HashSet<&str>> =
            known.map(|known| known.fields().iter().map(|field| field.name().as_str()).collect());
        let own = self.schema.fields().iter().map(|field| field.name().as_str());
        own.filter(move |name| names.as_ref().is_some_and(|names| !names.contains(name)))
    }
}

/// What does not fit, and what to do.
struct Defect {
    what: String,
    hint: &'static str,
}

impl Defect {
    fn lacks(name: &str) -> Defect {
        Defect { what: format!("there is no column `{name}`, by which rows are known"), hint: LACKS }
    }

    fn unknown(name: &str) -> Defect {
        Defect {
            what: format!("column `{name}` is not known to the job, which is to write all columns"),
            hint: UNKNOWN,
        }
    }
}

const LACKS: &str = "write it into this object, too, or name a source without the object";
pub(super) const TWICE: &str = "which of them is meant cannot be told: rename one where the file is written, or name what to write with `columns` \
     under [sink]";
const OTHER_TYPE: &str = "rows that are done stay done. Write this object in the job's types; or begin a new job, with another \
                          checkpoint and an empty sink, which finds types for all its objects, if `footers_max` under \
                          [source] is at least their number";
const UNKNOWN: &str = "rows that are done stay done. To go on without it, name the columns to write with `columns` under [sink]; to \
                       have it, begin a new job, with another checkpoint and an empty sink, which finds the columns of all its \
                       objects, if `footers_max` under [source] is at least their number";
