//! The ids of a Parquet file.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::Schema;
use tokio::runtime::Handle;

use super::lists::List;
use super::{Each, ExchangeError, Wanted, from_source, null};
use crate::format::parquet::Parquet;
use crate::source::{self, BlockSize, Columns, Rows, Unit, UnitReader};

/// Ids read at a time.
const BLOCK: BlockSize =
    BlockSize { rows_max: 64 * 1024, bytes_max: 8 << 20, window_bytes: 64 << 20, page_bytes_max: u64::MAX };

/// The row groups of a file that has the id columns.
pub(super) fn open(list: &List, wanted: &Wanted, runtime: &Handle) -> Result<Vec<Unit>, ExchangeError> {
    let bad = |error| from_source(list, error);
    let opened = list.store.wait(runtime, source::open_to_read(&list.store, &Parquet, &list.object, 0)).map_err(bad)?;
    let schema = Arc::new(Schema::new(wanted.fields()));
    opened.check(&Columns { schema, required: wanted.names.clone(), known: None }).map_err(bad)?;
    let units = Arc::new(opened).units();
    Ok(units.into_iter().filter(|unit| !unit.rows.is_empty()).collect())
}

/// Gives `each` the ids of a row group, in the file's order.
pub(super) fn read_unit(
    list: &List,
    wanted: &Wanted,
    unit: &Unit,
    runtime: &Handle,
    each: Each<'_>,
) -> Result<(), ExchangeError> {
    let bad = |error| from_source(list, error);
    let schema = Arc::new(Schema::new(wanted.fields()));
    let all = Rows::new(vec![unit.rows.clone()]);
    let mut reader = UnitReader::new(unit, &schema, all, BLOCK, runtime);
    while let Some(read) = reader.next().map_err(bad)? {
        refuse_nulls(list, wanted, &read.batch, &read.rows)?;
        each(wanted.batch(read.batch))?;
    }
    Ok(())
}

fn refuse_nulls(list: &List, wanted: &Wanted, ids: &RecordBatch, rows: &Rows) -> Result<(), ExchangeError> {
    for (name, column) in wanted.names.iter().zip(ids.columns()) {
        if column.null_count() == 0 {
            continue;
        }
        if let Some(first) = (0..column.len()).find(|&row| column.is_null(row)) {
            let row = rows.ranges()[0].start + first as u64;
            return Err(null(format_args!("{}, row {row}", list.name()), name));
        }
    }
    Ok(())
}
