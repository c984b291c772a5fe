//! Coverage that is too long for an entry, and all coverage of a compaction.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::super::CommitError;
use super::super::entry::{CoveredObject, SideFile};
use super::{numbers, read_table, strings, write};
use crate::store::Store;

/// Coverage of one object by one group.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::commit) struct CoverageRow {
    /// The group; 0 in the file of a segment, which is of one group.
    pub(in crate::commit) group: u64,
    /// The last root entry under which a group spoke of this content; 0 in the file of a segment.
    pub(in crate::commit) root: u64,
    pub(in crate::commit) object: CoveredObject,
}

/// Coverage that is too long for an entry: a row per range; an object without any range has one row with no state. The
/// rows of a piece are ranges with the state `own`; of the first piece, if it has none, that state without a range. Each
/// other piece has rows of its own, be they none.
pub(in crate::commit) async fn write_coverage(
    store: &Store,
    path: String,
    rows: &[CoverageRow],
) -> Result<SideFile, CommitError> {
    let rows: Vec<(&CoverageRow, Ranged)> = rows.iter().flat_map(ranges_of).collect();
    let strings = |text: fn(&CoverageRow) -> &str| {
        Arc::new(rows.iter().map(|(row, _)| Some(text(row))).collect::<StringArray>()) as ArrayRef
    };
    let numbers = |number: fn(&CoverageRow) -> u64| {
        Arc::new(rows.iter().map(|(row, _)| number(row)).collect::<UInt64Array>()) as ArrayRef
    };
    let columns: Vec<ArrayRef> = vec![
        numbers(|row| row.group),
        numbers(|row| row.root),
        strings(|row| &row.object.object),
        strings(|row| &row.object.digest),
        numbers(|row| row.object.size),
        numbers(|row| row.object.rows),
        numbers(|row| u64::from(row.object.piece)),
        Arc::new(rows.iter().map(|(_, range)| range.map(|range| range.0)).collect::<StringArray>()),
        Arc::new(rows.iter().map(|(_, range)| Some(range.as_ref()?.1?.0)).collect::<UInt64Array>()),
        Arc::new(rows.iter().map(|(_, range)| Some(range.as_ref()?.1?.1)).collect::<UInt64Array>()),
    ];
    let batch = RecordBatch::try_new(coverage_schema(), columns).expect("columns as in the schema");
    write(store, path, &batch).await
}

/// The state of one range, its start and its end.
type Ranged = Option<(&'static str, Option<(u64, u64)>)>;

fn ranges_of(row: &CoverageRow) -> Vec<(&CoverageRow, Ranged)> {
    let of = |state, ranges: &[(u64, u64)]| {
        ranges.iter().map(|range| (row, Some((state, Some(*range))))).collect::<Vec<_>>()
    };
    let CoveredObject { own, done, known, failed, dead, blank, piece, .. } = &row.object;
    let own = match own.as_deref() {
        Some([]) if *piece == 0 => vec![(row, Some(("own", None)))],
        own => of("own", own.unwrap_or_default()),
    };
    let (failed, dead, blank) = (of("failed", failed), of("dead", dead), of("blank", blank));
    let rows = [own, of("done", done), of("known", known), failed, dead, blank].concat();
    if rows.is_empty() { vec![(row, None)] } else { rows }
}

fn coverage_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("group", DataType::UInt64, false),
        Field::new("root", DataType::UInt64, false),
        Field::new("object", DataType::Utf8, false),
        Field::new("digest", DataType::Utf8, false),
        Field::new("size", DataType::UInt64, false),
        Field::new("rows", DataType::UInt64, false),
        Field::new("piece", DataType::UInt64, false),
        Field::new("state", DataType::Utf8, true),
        Field::new("start", DataType::UInt64, true),
        Field::new("end", DataType::UInt64, true),
    ]))
}

/// Reads long coverage.
pub(in crate::commit) async fn read_coverage(store: &Store, file: &SideFile) -> Result<Vec<CoverageRow>, CommitError> {
    let mut rows: Vec<CoverageRow> = Vec::new();
    for batch in read_table(store, file, &coverage_schema()).await? {
        let (group, root, piece) = (numbers(&batch, 0), numbers(&batch, 1), numbers(&batch, 6));
        let (path, digest, state) = (strings(&batch, 2), strings(&batch, 3), strings(&batch, 7));
        let (size, total, start, end) =
            (numbers(&batch, 4), numbers(&batch, 5), numbers(&batch, 8), numbers(&batch, 9));
        for at in 0..batch.num_rows() {
            let damaged = |message: String| CommitError::damaged(&file.path, message);
            let piece = u32::try_from(piece.value(at)).map_err(|_| damaged(format!("piece {}", piece.value(at))))?;
            let is_next = |last: &CoverageRow| {
                let object = &last.object;
                (last.group, last.root, object.object.as_str(), object.digest.as_str())
                    != (group.value(at), root.value(at), path.value(at), digest.value(at))
                    || (object.size, object.rows, object.piece) != (size.value(at), total.value(at), piece)
            };
            if rows.last().is_none_or(is_next) {
                let object = CoveredObject {
                    object: path.value(at).into(),
                    digest: digest.value(at).into(),
                    size: size.value(at),
                    rows: total.value(at),
                    piece,
                    own: (piece > 0).then(Vec::new),
                    done: vec![],
                    known: vec![],
                    failed: vec![],
                    dead: vec![],
                    blank: vec![],
                };
                rows.push(CoverageRow { group: group.value(at), root: root.value(at), object });
            }
            let object = &mut rows.last_mut().expect("just pushed").object;
            let has_range = start.is_valid(at) && end.is_valid(at);
            let range = has_range.then(|| (start.value(at), end.value(at)));
            match (state.is_valid(at).then(|| state.value(at)), range) {
                (Some("own"), range) => object.own.get_or_insert_default().extend(range),
                (Some("done"), Some(range)) => object.done.push(range),
                (Some("known"), Some(range)) => object.known.push(range),
                (Some("failed"), Some(range)) => object.failed.push(range),
                (Some("dead"), Some(range)) => object.dead.push(range),
                (Some("blank"), Some(range)) => object.blank.push(range),
                (Some(state), _) => return Err(damaged(format!("state {state:?} of rows {range:?}"))),
                (None, _) => {}
            }
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn long_coverage_comes_back() {
        let store = Store::memory("checkpoint");
        let row = |name: &str, done: Vec<(u64, u64)>, failed: Vec<(u64, u64)>, piece: u32| {
            let own = (piece > 0).then(|| vec![(0, 9)]);
            let (digest, known) = ("d".into(), vec![]);
            let object = CoveredObject {
                object: name.into(),
                digest,
                size: 9,
                rows: 100,
                piece,
                own,
                done,
                known,
                failed,
                dead: vec![(20, 21)],
                blank: vec![(30, 40), (99, 100)],
            };
            CoverageRow { group: 7, root: 2, object }
        };
        let objects = vec![
            row("a", vec![(0, 5), (7, 9)], vec![(5, 7)], 0),
            row("a", vec![(0, 5)], vec![], 1),
            row("empty", vec![], vec![], 0),
        ];
        let mut objects = objects;
        // Contents that differ in one thing only, and a first piece without rows of its own.
        objects.push(row("same", vec![(1, 2)], vec![], 0));
        objects.push(objects[3].clone());
        objects[4].object.size += 1;
        objects.push(objects[4].clone());
        objects[5].object.rows += 1;
        objects.push(row("cut", vec![], vec![], 0));
        objects[6].object.own = Some(vec![]);
        let file = wait(write_coverage(&store, "side/t".into(), &objects)).unwrap();
        assert_eq!(wait(read_coverage(&store, &file)).unwrap(), objects);
    }
}
