//! What a function may return: rows (a scalar, or a tuple of scalars), verdicts, batches, and `Result` of these.
//! Column types are in `column`.

use std::fmt::Display;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::Field;

use crate::column::Value;
use crate::function::{Answer, Lineage};

/// One output row: a value, or a tuple of up to twelve.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an output row",
    label = "not a row",
    note = "a row is one value or a tuple of values; a value is &str, String, &[u8], Vec<u8>, i8 to i64, u8 to u64, f32, f64, bool, or Option<_> of these"
)]
pub trait Row {
    type Builders;
    const WIDTH: usize;
    /// One field per name; as many names as `WIDTH`.
    fn fields(names: &[&str]) -> Vec<Field>;
    fn builders(rows: usize) -> Self::Builders;
    fn append_to(self, builders: &mut Self::Builders);
    /// Stands in for a row that has an error.
    fn append_nothing(builders: &mut Self::Builders);
    fn finish(builders: Self::Builders) -> Vec<ArrayRef>;
}

impl<V: Value> Row for V {
    type Builders = V::Builder;
    const WIDTH: usize = 1;

    fn fields(names: &[&str]) -> Vec<Field> {
        vec![field::<V>(names[0])]
    }

    fn builders(rows: usize) -> Self::Builders {
        V::builder(rows)
    }

    #[inline]
    fn append_to(self, builders: &mut Self::Builders) {
        Value::append_to(self, builders);
    }

    fn append_nothing(builders: &mut Self::Builders) {
        V::append_nothing(builders);
    }

    fn finish(builders: Self::Builders) -> Vec<ArrayRef> {
        vec![V::finish(builders)]
    }
}

pub(crate) fn field<V: Value>(name: &str) -> Field {
    Field::new(name, V::data_type(), V::NULLABLE)
}

macro_rules! tuple_rows {
    ($($width:literal: $($value:ident $at:tt),+;)+) => {$(
        impl<$($value: Value),+> Row for ($($value,)+) {
            type Builders = ($($value::Builder,)+);
            const WIDTH: usize = $width;

            fn fields(names: &[&str]) -> Vec<Field> {
                vec![$(field::<$value>(names[$at])),+]
            }

            fn builders(rows: usize) -> Self::Builders {
                ($($value::builder(rows),)+)
            }

            #[inline]
            fn append_to(self, builders: &mut Self::Builders) {
                $(Value::append_to(self.$at, &mut builders.$at);)+
            }

            fn append_nothing(builders: &mut Self::Builders) {
                $($value::append_nothing(&mut builders.$at);)+
            }

            fn finish(builders: Self::Builders) -> Vec<ArrayRef> {
                vec![$($value::finish(builders.$at)),+]
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

/// What a `#[map]` function returns: a row, or a `Result` of one.
#[diagnostic::on_unimplemented(
    message = "a #[map] function cannot return `{Self}`",
    label = "not a row",
    note = "allowed: one value, a tuple of values with #[map(columns(\"a\", \"b\"))], or Result<_, E: Display> of these; a value is &str, String, &[u8], Vec<u8>, i8 to i64, u8 to u64, f32, f64, bool, or Option<_> of these"
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

/// What a `#[filter]` function returns: `bool`, or a `Result` of it.
#[diagnostic::on_unimplemented(
    message = "a #[filter] function cannot return `{Self}`",
    label = "not a verdict",
    note = "allowed: bool (true keeps the row), or Result<bool, E: Display>"
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
