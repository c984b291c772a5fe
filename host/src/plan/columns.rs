//! What a function wants beside what reaches it, for people: a table, and the name that was probably meant.

use std::collections::HashMap;

use arrow::datatypes::Schema;

use crate::config::{list, nearest, shown};
use crate::message::{Message, table};
use crate::udf::{Function, Mismatch, Wanted};

/// Rows of a table. Columns that do not fit come first if there are more.
const ROWS_MAX: usize = 20;
/// Columns that the first line names.
const SUMMED_MAX: usize = 3;
/// Names of columns in one message.
const NAMES_MAX: usize = 30;

/// Where columns come from, in the words of who asks.
struct Words {
    /// What stands before all stages.
    data: &'static str,
    /// Continues "the columns".
    that_are_there: &'static str,
    if_missing: &'static str,
    if_of_another_type: &'static str,
}

const PIPELINE: Words = Words {
    data: "the source",
    that_are_there: "that reach it",
    if_missing: "give the source such a column, or put a stage before that adds it",
    if_of_another_type: "convert the column in the source or in a stage before",
};
const BY_HAND: Words = Words {
    data: "the input",
    that_are_there: "of the input",
    if_missing: "name an --input with such a column",
    if_of_another_type: "convert the column in the input",
};

/// The same for a function that is run by hand on the columns of a file.
pub fn explained_by_hand(function: &Function, mismatch: &Mismatch) -> Message {
    let makers = mismatch.here.iter().map(|name| (name.clone(), BY_HAND.data.to_owned())).collect();
    explained_as("", function, mismatch, &makers, &BY_HAND)
}

/// The same for a function that refused: what its component describes may say more than it did. None if that fits.
pub fn foreseen_by_hand(function: &Function, input: &Schema) -> Option<Message> {
    let (needs, adds) = super::make::foreseen(function)?;
    Some(explained_by_hand(function, &Mismatch::find(&needs, &adds, input)?))
}

/// Why the columns do not fit, with everything that the function wants. `makers` knows who made each column.
pub(super) fn explained(
    index: usize,
    function: &Function,
    mismatch: &Mismatch,
    makers: &HashMap<String, String>,
) -> Message {
    explained_as(&format!("stage {}: ", index + 1), function, mismatch, makers, &PIPELINE)
}

fn explained_as(
    place: &str,
    function: &Function,
    mismatch: &Mismatch,
    makers: &HashMap<String, String>,
    words: &Words,
) -> Message {
    let there = words.that_are_there;
    let what = format!("{place}`{}` does not fit the columns {there}: {}", function.name, sum(mismatch));
    let header = ["column", "wanted", "arrives", "made by", "verdict"].map(str::to_owned).to_vec();
    let mut rows: Vec<(bool, Vec<String>)> =
        mismatch.columns.iter().map(|wanted| (wanted.fits(), needed(wanted, mismatch, makers))).collect();
    rows.extend(mismatch.taken.iter().map(|add| (false, taken(add, makers))));
    if rows.len() > ROWS_MAX {
        rows.sort_by_key(|(fits, _)| *fits);
    }
    let more = rows.len().saturating_sub(ROWS_MAX);
    let rows: Vec<Vec<String>> =
        std::iter::once(header).chain(rows.into_iter().take(ROWS_MAX).map(|(_, row)| row)).collect();
    let mut details = table(&rows);
    details.extend((more > 0).then(|| format!("... and {more} more columns")));
    Message { what, causes: Vec::new(), details, hint: Some(hint(mismatch, makers, words)) }
}

/// `` `texts` is missing, `n` is of another type ``
fn sum(mismatch: &Mismatch) -> String {
    let wrong = mismatch.columns.iter().filter(|wanted| !wanted.fits()).map(|wanted| match wanted.arrives {
        None => format!("`{}` is missing", shown(&wanted.name)),
        Some(_) => format!("`{}` is of another type", shown(&wanted.name)),
    });
    let taken = mismatch.taken.iter();
    let taken = taken.map(|add| format!("`{}`, which it adds, is there already", shown(&add.name)));
    let parts: Vec<String> = wrong.chain(taken).collect();
    match parts.len().saturating_sub(SUMMED_MAX) {
        0 => parts.join(", "),
        more => format!("{} and {more} more", parts[..SUMMED_MAX].join(", ")),
    }
}

fn needed(wanted: &Wanted, mismatch: &Mismatch, makers: &HashMap<String, String>) -> Vec<String> {
    let arrives = wanted.arrives.as_ref().map_or("-".to_owned(), ToString::to_string);
    let verdict = match &wanted.arrives {
        None => match nearest(&wanted.name, mismatch.here.iter().map(String::as_str)) {
            Some(near) => format!("is missing; did you mean `{}`?", shown(near)),
            None => "is missing".to_owned(),
        },
        Some(_) if !wanted.fits() => "is of another type".to_owned(),
        Some(arrives) if *arrives != wanted.data_type => "fits, is converted".to_owned(),
        Some(_) => "fits".to_owned(),
    };
    let cells =
        [shown(&wanted.name), shown(&wanted.data_type.to_string()), arrives, maker(&wanted.name, makers), verdict];
    cells.to_vec()
}

fn taken(add: &Wanted, makers: &HashMap<String, String>) -> Vec<String> {
    let arrives = add.arrives.as_ref().map_or("-".to_owned(), ToString::to_string);
    let adds = format!("adds {}", shown(&add.data_type.to_string()));
    [shown(&add.name), adds, arrives, maker(&add.name, makers), "is there already".to_owned()].to_vec()
}

fn maker(name: &str, makers: &HashMap<String, String>) -> String {
    makers.get(name).map_or("-".to_owned(), |maker| shown(maker))
}

fn hint(mismatch: &Mismatch, makers: &HashMap<String, String>, words: &Words) -> String {
    let here: Vec<&str> = mismatch.here.iter().map(String::as_str).collect();
    if mismatch.columns.iter().any(|wanted| wanted.arrives.is_none()) {
        return format!("{}; {}", words.if_missing, names(&here));
    }
    if mismatch.columns.iter().any(|wanted| !wanted.fits()) {
        return format!("only widening that loses nothing is done by itself; {}", words.if_of_another_type);
    }
    let is_of_data = |add: &&Wanted| makers.get(&add.name).is_some_and(|maker| maker == words.data);
    match mismatch.taken.iter().find(is_of_data) {
        Some(add) => format!(
            "`{name}` is a column of {}: rename it there or leave it out; or let the function take `{name}` as a parameter, \
             too: then what it gives replaces it",
            words.data,
            name = shown(&add.name)
        ),
        None => "two stages must not add the same column; rename one, or remove the stage that is too many".to_owned(),
    }
}

/// `there are a, b and c`
pub(super) fn names(names: &[&str]) -> String {
    let some: Vec<String> = names.iter().take(NAMES_MAX).map(|name| shown(name)).collect();
    match names.len().saturating_sub(NAMES_MAX) {
        0 if names.is_empty() => "there is no column at all".to_owned(),
        0 if names.len() == 1 => format!("there is {} only", some[0]),
        0 => format!("there are {}", list(&some, "and")),
        more => format!("there are {} and {more} more", some.join(", ")),
    }
}
