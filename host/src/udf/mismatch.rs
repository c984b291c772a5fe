//! What a function wants beside what reaches it: every column that does not fit, as values. `plan` shows them as a table.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::guest::quote;

/// Names of columns in one message.
const NAMES_MAX: usize = 30;

/// A function whose columns do not fit those that reach it.
#[derive(Clone, Debug, PartialEq)]
pub struct Mismatch {
    /// The columns that it needs, in its order, those that fit among them.
    pub columns: Vec<Wanted>,
    /// Columns that it adds, with their types, and that are there already.
    pub taken: Vec<Wanted>,
    /// What it would add, so that later stages can be checked all the same.
    pub adds: SchemaRef,
    /// The columns that reach it.
    pub here: Vec<String>,
}

/// A column that a function needs or adds.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    pub name: String,
    pub data_type: DataType,
    /// The type of the column of this name that reaches the function, if there is one.
    pub arrives: Option<DataType>,
}

impl Wanted {
    pub fn fits(&self) -> bool {
        self.arrives.as_ref().is_some_and(|arrives| crate::columns::serves(arrives, &self.data_type))
    }
}

impl Mismatch {
    /// Compares what a function needs and adds with what reaches it. None if all fits.
    pub fn find(needs: &Schema, adds: &SchemaRef, input: &Schema) -> Option<Mismatch> {
        let wanted = |field: &Arc<Field>| {
            let arrives = input.column_with_name(field.name()).map(|(_, column)| column.data_type().clone());
            Wanted { name: field.name().clone(), data_type: field.data_type().clone(), arrives }
        };
        let columns: Vec<Wanted> = needs.fields().iter().map(wanted).collect();
        let replaces = |add: &Wanted| needs.column_with_name(&add.name).is_some();
        let taken = adds.fields().iter().map(wanted).filter(|add| add.arrives.is_some() && !replaces(add));
        let taken: Vec<Wanted> = taken.collect();
        let all_fits = taken.is_empty() && columns.iter().all(Wanted::fits);
        let here = input.fields().iter().map(|field| field.name().clone()).collect();
        (!all_fits).then(|| Mismatch { columns, taken, adds: SchemaRef::clone(adds), here })
    }
}

/// Continues a sentence whose subject is the function.
impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wrong = self.columns.iter().filter(|wanted| !wanted.fits()).map(|wanted| {
            let name = quote(&wanted.name);
            match &wanted.arrives {
                None => format!("needs a column `{name}`, which does not reach it"),
                Some(arrives) => {
                    format!("needs `{name}` as {}, and it is {arrives}", quote(&wanted.data_type.to_string()))
                }
            }
        });
        let taken = self.taken.iter();
        let taken = taken.map(|add| format!("adds a column `{}`, which reaches it already", quote(&add.name)));
        f.write_str(&wrong.chain(taken).collect::<Vec<_>>().join("; "))
    }
}

impl Mismatch {
    /// What to do, for the first kind of mistake that there is.
    pub fn hint(&self) -> String {
        if self.columns.iter().any(|wanted| wanted.arrives.is_none()) {
            return format!("the columns here are {}", names(&self.here));
        }
        if self.columns.iter().any(|wanted| !wanted.fits()) {
            return "only widening that loses nothing is done by itself; convert the column in the source or in a stage before".to_owned();
        }
        "rename the one or the other; or let the function need the column, too: then what it adds replaces it"
            .to_owned()
    }
}

/// Names of columns, some of them if they are many.
fn names(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES_MAX).map(String::as_str).collect();
    let more = match names.len().saturating_sub(NAMES_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    if names.is_empty() { "none".to_owned() } else { format!("{}{more}", quote(&shown.join(", "))) }
}
