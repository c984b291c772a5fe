//! What a function may return: rows (a scalar, or a tuple of scalars), verdicts, batches, and `Result` of these.
//! Column types are in `column`.

use std::fmt::Display;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::Field;

use crate::column::Value;
use crate::function::{Answer, Lineage};

/// One output row: a value, a struct with `#[derive(Columns)]`, or a tuple of up to twelve values.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an output row",
    label = "not a row",
    note = "a row is one value, a tuple of values with columns(\"a\", \"b\") in the attribute, or a struct with #[derive(wasmpipe_sdk::Columns)]",
    note = "a value is one of &str, String, Cow<str>, &[u8], Vec<u8>, [u8; N], i8 to i64, u8 to u64, f32, f64, bool, Decimal<P, S>, Uuid, chrono's NaiveDate, NaiveTime, NaiveDateTime, DateTime<Utc>, TimeDelta, Vec<_> of these, Vec<(K, V)> for a map, a struct with #[derive(wasmpipe_sdk::Columns)], and Option<_> of all these"
)]
pub trait Row: Sized {
    type Builders;
    /// How many columns it makes.
    const WIDTH: usize;
    /// Whether it names its columns itself.
    const NAMED: bool;
    /// Whether [`Row::check`] may refuse.
    const CHECKED: bool;
    /// One field per column; as many names as `WIDTH`, unless it names them itself.
    fn fields(names: &[&str]) -> Vec<Field>;
    /// An error is a row error.
    fn check(&self) -> Result<(), String>;
    fn builders(rows: usize) -> Self::Builders;
    fn append_to(self, builders: &mut Self::Builders);
    fn finish(builders: Self::Builders) -> Vec<ArrayRef>;
    /// All rows at once; `None` is a row that has an error.
    fn collect(rows: usize, row: impl FnMut(usize) -> Option<Self>) -> Vec<ArrayRef>;
}

impl<V: Value> Row for V {
    type Builders = V::Builder;
    const WIDTH: usize = V::WIDTH;
    const NAMED: bool = V::NAMED;
    const CHECKED: bool = V::CHECKED;

    fn fields(names: &[&str]) -> Vec<Field> {
        V::fields(names)
    }

    #[inline(always)]
    fn check(&self) -> Result<(), String> {
        Value::check(self)
    }

    fn builders(rows: usize) -> Self::Builders {
        V::builder(rows)
    }

    #[inline]
    fn append_to(self, builders: &mut Self::Builders) {
        Value::append_to(self, builders);
    }

    fn finish(builders: Self::Builders) -> Vec<ArrayRef> {
        V::finish_row(builders)
    }

    #[inline(always)]
    fn collect(rows: usize, row: impl FnMut(usize) -> Option<Self>) -> Vec<ArrayRef> {
        V::finish_row(<V as Value>::collect(rows, row))
    }
}

macro_rules! tuple_rows {
    ($($width:literal: $($value:ident $at:tt),+;)+) => {$(
        impl<$($value: Value),+> Row for ($($value,)+) {
            type Builders = ($($value::Builder,)+);
            const WIDTH: usize = $width;
            const NAMED: bool = false;
            const CHECKED: bool = $($value::CHECKED)||+;

            fn fields(names: &[&str]) -> Vec<Field> {
                vec![$($value::field(names[$at])),+]
            }

            #[inline(always)]
            fn check(&self) -> Result<(), String> {
                $(self.$at.check()?;)+
                Ok(())
            }

            fn builders(rows: usize) -> Self::Builders {
                ($($value::builder(rows),)+)
            }

            #[inline]
            fn append_to(self, builders: &mut Self::Builders) {
                $(Value::append_to(self.$at, &mut builders.$at);)+
            }

            fn finish(builders: Self::Builders) -> Vec<ArrayRef> {
                vec![$($value::finish(builders.$at)),+]
            }

            #[inline]
            fn collect(rows: usize, mut row: impl FnMut(usize) -> Option<Self>) -> Vec<ArrayRef> {
                let mut builders = Self::builders(rows);
                for index in 0..rows {
                    match row(index) {
                        Some(row) => row.append_to(&mut builders),
                        None => {
                            $($value::append_nothing(&mut builders.$at);)+
                        }
                    }
                }
                Self::finish(builders)
            }
        }
    )+};
}

tuple_rows! {
    1: A 0;
    2: A 0, B 1;
    3: A 0, B 1, C 2;
    4: A 0, B 1, C 2, D 3;
    5: A 0, B 1, C 2, D 3, E 4;
    6: A 0, B 1, C 2, D 3, E 4, F 5;
    7: A 0, B 1, C 2, D 3, E 4, F 5, G 6;
    8: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7;
    9: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8;
    10: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9;
    11: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10;
    12: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11;
}

/// An error of a function: it is shown to people.
#[diagnostic::on_unimplemented(
    message = "`{Self}` needs std::fmt::Display: the error of a function is shown to people",
    label = "cannot be shown",
    note = "implement std::fmt::Display for it, or return Result<_, String>"
)]
pub trait Shown {
    fn show(&self) -> String;
}

impl<E: Display> Shown for E {
    fn show(&self) -> String {
        self.to_string()
    }
}

/// What a `#[map]` function returns: a row, or a `Result` of one.
#[diagnostic::on_unimplemented(
    message = "a #[map] function cannot return `{Self}`",
    label = "not a row",
    note = "allowed: one value, a tuple of values with #[map(columns(\"a\", \"b\"))], a struct with #[derive(wasmpipe_sdk::Columns)], or a Result of these whose error implements std::fmt::Display",
    note = "a value is one of &str, String, Cow<str>, &[u8], Vec<u8>, [u8; N], i8 to i64, u8 to u64, f32, f64, bool, Decimal<P, S>, Uuid, chrono's NaiveDate, NaiveTime, NaiveDateTime, DateTime<Utc>, TimeDelta, Vec<_> of these, Vec<(K, V)> for a map, a struct with #[derive(wasmpipe_sdk::Columns)], and Option<_> of all these"
)]
pub trait Outcome {
    type Row: Row;
    fn outcome(self) -> Result<Self::Row, String>;
}

impl<R: Row> Outcome for R {
    type Row = R;

    #[inline]
    fn outcome(self) -> Result<R, String> {
        Ok(self)
    }
}

impl<R: Row, E: Display> Outcome for Result<R, E> {
    type Row = R;

    #[inline]
    fn outcome(self) -> Result<R, String> {
        self.map_err(|error| error.to_string())
    }
}

/// What a `#[flat_map]` function returns, `Result` aside: rows to iterate over.
#[diagnostic::on_unimplemented(
    message = "a #[flat_map] function cannot return `{Self}`",
    label = "not rows to iterate over",
    note = "allowed: Vec<_>, [_; N], Option<_>, impl Iterator<Item = _> and the like, of values, of tuples with #[flat_map(columns(\"a\", \"b\"))] or of structs with #[derive(wasmpipe_sdk::Columns)]; or Result<_, E: Display> of these",
    note = "one output row for each input row is #[map]"
)]
pub trait Outputs: IntoIterator<Item = Self::Row> {
    type Row: Row;
}

impl<I: IntoIterator<Item: Row>> Outputs for I {
    type Row = I::Item;
}

/// What a `#[filter]` function returns: `bool`, or a `Result` of it.
#[diagnostic::on_unimplemented(
    message = "a #[filter] function cannot return `{Self}`",
    label = "not a verdict",
    note = "allowed: bool (true keeps the row), or Result<bool, E> whose error implements std::fmt::Display"
)]
pub trait Verdict {
    fn verdict(self) -> Result<bool, String>;
}

impl Verdict for bool {
    #[inline]
    fn verdict(self) -> Result<bool, String> {
        Ok(self)
    }
}

impl<E: Display> Verdict for Result<bool, E> {
    #[inline]
    fn verdict(self) -> Result<bool, String> {
        self.map_err(|error| error.to_string())
    }
}

/// What a `#[map_batches]` function returns: a batch (one row for each), an [`Answer`], or a `Result` of these.
#[diagnostic::on_unimplemented(
    message = "a #[map_batches] function cannot return `{Self}`",
    label = "not an answer",
    note = "allowed: RecordBatch (one output row per input row), wasmpipe_sdk::Answer, or Result<_, E: Display> of these"
)]
pub trait BatchOutcome {
    /// An error fails every row of the block.
    fn answer(self) -> Result<Answer, String>;
}

impl BatchOutcome for RecordBatch {
    fn answer(self) -> Result<Answer, String> {
        Ok(Answer { batch: self, lineage: Lineage::Same, errors: Vec::new() })
    }
}

impl BatchOutcome for Answer {
    fn answer(self) -> Result<Answer, String> {
        Ok(self)
    }
}

impl<A: BatchOutcome, E: Display> BatchOutcome for Result<A, E> {
    fn answer(self) -> Result<Answer, String> {
        self.map_err(|error| error.to_string())?.answer()
    }
}
