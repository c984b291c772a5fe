//! A function bound and called over arrays, for tests of what it reads and writes.

use wasmpipe_sdk::arrow_array::{Array, ArrayRef};
use wasmpipe_sdk::{Exported, Field, RecordBatch, RowError};

/// What a function answered, and the columns that it said it would.
pub(crate) struct Answer {
    pub(crate) adds: Vec<Field>,
    pub(crate) arrays: Vec<ArrayRef>,
    pub(crate) rows: usize,
    pub(crate) errors: Vec<RowError>,
}

/// Calls a function with the columns of the block that it needs, which have the types that it asks for.
pub(crate) fn call<F: Exported>(config: &str, block: &RecordBatch) -> Answer {
    let bound = (F::FUNCTION.bind)(block.schema_ref(), config).expect("binds");
    let indices: Vec<_> = bound.needs.iter().map(|need| block.schema().index_of(need.name()).expect("there")).collect();
    let block = block.project(&indices).expect("columns");
    for (need, column) in bound.needs.iter().zip(block.columns()) {
        assert_eq!(need.data_type(), column.data_type(), "{}", need.name());
    }
    let columns = (bound.work)(&block).expect("works");
    for (add, array) in bound.adds.iter().zip(&columns.arrays) {
        assert_eq!((add.data_type(), columns.rows), (array.data_type(), array.len()), "{}", add.name());
        array.to_data().validate_full().expect("valid");
    }
    Answer { adds: bound.adds, arrays: columns.arrays, rows: columns.rows, errors: columns.errors }
}

/// Why a function does not bind.
pub(crate) fn refusal<F: Exported>(config: &str, block: &RecordBatch) -> String {
    (F::FUNCTION.bind)(block.schema_ref(), config).expect_err("refused")
}

pub(crate) fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).expect("one length")
}
