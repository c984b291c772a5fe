//! The Parquet files that lie beside the log: ids, long coverage, source listings. Each is durable before the entry that
//! names it with size and digest, and anyone can read it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow::compute::{
    SortColumn, concat_batches, filter_record_batch, lexsort_to_indices, partition, take_record_batch,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::CommitError;
use super::decode::decode;
use super::entry::{CoveredObject, FileEntry, IdFile, SideFile};
use super::replay::{GroupState, OpenState};
use super::root::Pinned;
use crate::sink::FileKind;
use crate::source::Object;
use crate::store::Store;

/// Side files read at a time.
const READS_MAX: usize = 32;

/// Writes the ids of a group, sorted by their columns in order. `None` if there are none.
pub async fn write_ids(
    store: &Store,
    token: &str,
    group: u64,
    batches: &[RecordBatch],
) -> Result<Option<SideFile>, CommitError> {
    let Some(first) = batches.first() else { return Ok(None) };
    let path = format!("side/{token}-ids-{group}.parquet");
    let sorted = sorted(&first.schema(), batches).map_err(|error| CommitError::damaged(&path, error))?;
    if sorted.num_rows() == 0 {
        return Ok(None);
    }
    write(store, path, &sorted).await.map(Some)
}

/// Writes ids that were done elsewhere, sorted, each once. `name` is random, and nobody else's.
pub async fn write_imported(
    store: &Store,
    name: &str,
    number: usize,
    batches: &[RecordBatch],
) -> Result<Option<SideFile>, CommitError> {
    let Some(first) = batches.first() else { return Ok(None) };
    let path = format!("side/{name}-imported-{number}.parquet");
    let unique = sorted(&first.schema(), batches).and_then(|sorted| unique(&sorted));
    let unique = unique.map_err(|error| CommitError::damaged(&path, error))?;
    write(store, path, &unique).await.map(Some)
}

/// The first of equal rows that lie side by side.
fn unique(sorted: &RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> {
    let firsts: UInt64Array = partition(sorted.columns())?.ranges().iter().map(|range| range.start as u64).collect();
    take_record_batch(sorted, &firsts)
}

fn sorted(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let all = concat_batches(schema, batches)?;
    let columns: Vec<SortColumn> =
        all.columns().iter().map(|values| SortColumn { values: Arc::clone(values), options: None }).collect();
    take_record_batch(&all, &lexsort_to_indices(&columns, None)?)
}

/// The ids of a file, those of wanted groups only, without the column that names their groups.
pub async fn read_ids(
    store: &Store,
    file: &IdFile,
    is_wanted: impl Fn(u64) -> bool,
) -> Result<Vec<RecordBatch>, CommitError> {
    match file.group {
        Some(group) if is_wanted(group) => read(store, &file.file).await,
        Some(_) => Ok(Vec::new()),
        None => {
            let batches = read_ids_with_groups(store, file, is_wanted).await?;
            let ids = |batch: RecordBatch| batch.project(&(0..batch.num_columns() - 1).collect::<Vec<_>>());
            let batches = batches.into_iter().map(ids).collect::<Result<_, _>>();
            batches.map_err(|error| CommitError::damaged(&file.file.path, error))
        }
    }
}

/// Ids that were done elsewhere, before the job began.
pub async fn read_imported(store: &Store, file: &SideFile) -> Result<Vec<RecordBatch>, CommitError> {
    read(store, file).await
}

/// Writes a source listing: `path`, `size`, `etag`, `modified_ms`, `since`.
pub async fn write_listing(store: &Store, token: &str, objects: &[Pinned]) -> Result<SideFile, CommitError> {
    let path = format!("side/{token}-listing-{}.parquet", super::random_name());
    let strings = |text: fn(&Pinned) -> Option<&str>| Arc::new(objects.iter().map(text).collect::<StringArray>());
    let numbers = |number: fn(&Pinned) -> u64| Arc::new(objects.iter().map(number).collect::<UInt64Array>());
    let modified: Int64Array = objects.iter().map(|pinned| pinned.object.modified_ms).collect();
    let columns: Vec<ArrayRef> = vec![
        strings(|pinned| Some(&pinned.object.path)),
        numbers(|pinned| pinned.object.size),
        strings(|pinned| pinned.object.etag.as_deref()),
        Arc::new(modified),
        numbers(|pinned| pinned.since),
    ];
    let batch = RecordBatch::try_new(listing_schema(), columns).expect("columns as in the schema");
    write(store, path, &batch).await
}

fn listing_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("size", DataType::UInt64, false),
        Field::new("etag", DataType::Utf8, true),
        Field::new("modified_ms", DataType::Int64, false),
        Field::new("since", DataType::UInt64, false),
    ]))
}

/// Reads a source listing.
pub(super) async fn read_listing(store: &Store, file: &SideFile) -> Result<Vec<Pinned>, CommitError> {
    let mut pinned = Vec::new();
    for batch in read_table(store, file, &listing_schema()).await? {
        let (path, etag) = (strings(&batch, 0), strings(&batch, 2));
        let (size, since) = (numbers(&batch, 1), numbers(&batch, 4));
        let modified = batch.column(3).as_any().downcast_ref::<Int64Array>().expect("schema checked");
        for row in 0..batch.num_rows() {
            let object = Object {
                path: path.value(row).into(),
                size: size.value(row),
                etag: etag.is_valid(row).then(|| etag.value(row).to_string()),
                modified_ms: modified.value(row),
            };
            pinned.push(Pinned { object, since: since.value(row) });
        }
    }
    Ok(pinned)
}

/// Coverage of one object by one group.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CoverageRow {
    /// The group; 0 in the file of a segment, which is of one group.
    pub(super) group: u64,
    /// The last root entry under which a group spoke of this content; 0 in the file of a segment.
    pub(super) root: u64,
    pub(super) object: CoveredObject,
}

/// Coverage that is too long for an entry: a row per range; an object without any range has one row with no state. The
/// rows of a piece are ranges with the state `own`; of the first piece, if it has none, that state without a range. Each
/// other piece has rows of its own, be they none.
pub(super) async fn write_coverage(store: &Store, path: String, rows: &[CoverageRow]) -> Result<SideFile, CommitError> {
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
    let CoveredObject { own, done, known, failed, dead, piece, .. } = &row.object;
    let own = match own.as_deref() {
        Some([]) if *piece == 0 => vec![(row, Some(("own", None)))],
        own => of("own", own.unwrap_or_default()),
    };
    let rows = [own, of("done", done), of("known", known), of("failed", failed), of("dead", dead)].concat();
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
pub(super) async fn read_coverage(store: &Store, file: &SideFile) -> Result<Vec<CoverageRow>, CommitError> {
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
                (Some(state), _) => return Err(damaged(format!("state {state:?} of rows {range:?}"))),
                (None, _) => {}
            }
        }
    }
    Ok(rows)
}

/// The groups of a compaction, and their files.
pub(super) async fn write_groups(
    store: &Store,
    prefix: &str,
    groups: &BTreeMap<u64, GroupState>,
) -> Result<(SideFile, SideFile), CommitError> {
    let counts = |group: &GroupState| serde_json::to_string(&group.counts).expect("counts are JSON");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(groups.keys().copied().collect::<UInt64Array>()),
        Arc::new(groups.values().map(|group| group.root).collect::<UInt64Array>()),
        Arc::new(groups.values().map(|group| Some(counts(group))).collect::<StringArray>()),
    ];
    let batch = RecordBatch::try_new(groups_schema(), columns).expect("columns as in the schema");
    let written = write(store, format!("{prefix}-groups.parquet"), &batch).await?;
    let files: Vec<(u64, &FileEntry)> =
        groups.iter().flat_map(|(number, group)| group.all_files().map(move |file| (*number, file))).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(files.iter().map(|(group, _)| *group).collect::<UInt64Array>()),
        Arc::new(files.iter().map(|(_, file)| Some(file.path.as_str())).collect::<StringArray>()),
        Arc::new(files.iter().map(|(_, file)| file.rows).collect::<UInt64Array>()),
        Arc::new(files.iter().map(|(_, file)| file.bytes).collect::<UInt64Array>()),
    ];
    let batch = RecordBatch::try_new(files_schema(), columns).expect("columns as in the schema");
    Ok((written, write(store, format!("{prefix}-files.parquet"), &batch).await?))
}

fn groups_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("group", DataType::UInt64, false),
        Field::new("root", DataType::UInt64, false),
        Field::new("counts", DataType::Utf8, false),
    ]))
}

fn files_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("group", DataType::UInt64, false),
        Field::new("path", DataType::Utf8, false),
        Field::new("rows", DataType::UInt64, false),
        Field::new("bytes", DataType::UInt64, false),
    ]))
}

/// Reads the groups of a compaction.
pub(super) async fn read_groups(
    store: &Store,
    groups: &SideFile,
    files: &SideFile,
) -> Result<BTreeMap<u64, GroupState>, CommitError> {
    let mut states = BTreeMap::new();
    for batch in read_table(store, groups, &groups_schema()).await? {
        for at in 0..batch.num_rows() {
            let counts = serde_json::from_str(strings(&batch, 2).value(at));
            let counts = counts.map_err(|error| CommitError::damaged(&groups.path, error))?;
            let state = GroupState { root: numbers(&batch, 1).value(at), counts, ..GroupState::default() };
            let group = numbers(&batch, 0).value(at);
            if states.insert(group, state).is_some() {
                return Err(CommitError::damaged(&groups.path, format!("group {group} is there twice")));
            }
        }
    }
    for batch in read_table(store, files, &files_schema()).await? {
        for at in 0..batch.num_rows() {
            let group = numbers(&batch, 0).value(at);
            let state = states.get_mut(&group);
            let state = state.ok_or_else(|| CommitError::damaged(&files.path, format!("there is no group {group}")))?;
            let path = strings(&batch, 1).value(at).to_string();
            let (rows, bytes) = (numbers(&batch, 2).value(at), numbers(&batch, 3).value(at));
            let file = FileEntry { path, rows, bytes };
            match file.path.starts_with(FileKind::DeadLetters.folder()) {
                true => state.dead_letters.push(file),
                false => state.files.push(file),
            }
        }
    }
    Ok(states)
}

/// The opens that a compaction covers.
pub(super) async fn write_opens(
    store: &Store,
    prefix: &str,
    opens: &BTreeMap<u64, OpenState>,
) -> Result<SideFile, CommitError> {
    let strings = |text: fn(&OpenState) -> &str| {
        Arc::new(opens.values().map(|open| Some(text(open))).collect::<StringArray>()) as ArrayRef
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(opens.keys().copied().collect::<UInt64Array>()),
        strings(|open| &open.token),
        strings(|open| &open.run),
        Arc::new(opens.values().map(|open| open.root).collect::<UInt64Array>()),
        strings(|open| &open.host),
        strings(|open| &open.boot),
        Arc::new(opens.values().map(|open| u64::from(open.pid)).collect::<UInt64Array>()),
    ];
    let batch = RecordBatch::try_new(opens_schema(), columns).expect("columns as in the schema");
    write(store, format!("{prefix}-opens.parquet"), &batch).await
}

fn opens_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("number", DataType::UInt64, false),
        Field::new("token", DataType::Utf8, false),
        Field::new("run", DataType::Utf8, false),
        Field::new("root", DataType::UInt64, false),
        Field::new("host", DataType::Utf8, false),
        Field::new("boot", DataType::Utf8, false),
        Field::new("pid", DataType::UInt64, false),
    ]))
}

/// Reads the opens that a compaction covers.
pub(super) async fn read_opens(store: &Store, file: &SideFile) -> Result<BTreeMap<u64, OpenState>, CommitError> {
    let mut opens = BTreeMap::new();
    for batch in read_table(store, file, &opens_schema()).await? {
        for at in 0..batch.num_rows() {
            let text = |column| strings(&batch, column).value(at).to_string();
            let number = |column| numbers(&batch, column).value(at);
            let (token, run, host, boot) = (text(1), text(2), text(4), text(5));
            let pid = u32::try_from(number(6)).map_err(|_| CommitError::damaged(&file.path, "a process' number"))?;
            opens.insert(number(0), OpenState { token, run, root: number(3), host, boot, pid });
        }
    }
    Ok(opens)
}

/// Merges id files of groups that count into one whose rows name their group, sorted by id.
pub(super) async fn merge_ids(
    store: &Store,
    path: String,
    files: &[IdFile],
    groups: &BTreeMap<u64, GroupState>,
) -> Result<Option<SideFile>, CommitError> {
    let reads = files.iter().map(|file| read_ids_with_groups(store, file, |group| groups.contains_key(&group)));
    let reads: Vec<_> = reads.collect();
    let batches: Vec<Vec<RecordBatch>> = futures::stream::iter(reads).buffered(READS_MAX).try_collect().await?;
    let batches = batches.concat();
    let Some(first) = batches.first() else { return Ok(None) };
    let sorted = sorted(&first.schema(), &batches).map_err(|error| CommitError::damaged(&path, error))?;
    write(store, path, &sorted).await.map(Some)
}

/// The ids of a file with a last column `_group`, those of wanted groups only.
async fn read_ids_with_groups(
    store: &Store,
    file: &IdFile,
    is_wanted: impl Fn(u64) -> bool,
) -> Result<Vec<RecordBatch>, CommitError> {
    let damaged = |error: arrow::error::ArrowError| CommitError::damaged(&file.file.path, error);
    let mut batches = Vec::new();
    for batch in read(store, &file.file).await? {
        let batch = match file.group {
            Some(group) => with_group(&batch, group).map_err(damaged)?,
            None => batch,
        };
        let last = batch.columns().last().and_then(|column| column.as_any().downcast_ref::<UInt64Array>());
        let last = last.ok_or_else(|| CommitError::damaged(&file.file.path, "it does not name groups"))?;
        let keep: BooleanArray = last.iter().map(|group| group.map(&is_wanted)).collect();
        let kept = filter_record_batch(&batch, &keep).map_err(damaged)?;
        batches.extend((kept.num_rows() > 0).then_some(kept));
    }
    Ok(batches)
}

fn with_group(batch: &RecordBatch, group: u64) -> Result<RecordBatch, arrow::error::ArrowError> {
    let mut fields: Vec<Arc<Field>> = batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(GROUP_COLUMN, DataType::UInt64, false)));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(UInt64Array::from_value(group, batch.num_rows())));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// The group of a row in a file of ids of several groups.
const GROUP_COLUMN: &str = "_group";

fn strings(batch: &RecordBatch, column: usize) -> &StringArray {
    batch.column(column).as_any().downcast_ref().expect("schema checked")
}

fn numbers(batch: &RecordBatch, column: usize) -> &UInt64Array {
    batch.column(column).as_any().downcast_ref().expect("schema checked")
}

async fn write(store: &Store, path: String, batch: &RecordBatch) -> Result<SideFile, CommitError> {
    let bytes = encode(batch).map_err(|error| CommitError::damaged(&path, error))?;
    let file = SideFile {
        path,
        rows: batch.num_rows() as u64,
        bytes: bytes.len() as u64,
        digest: blake3::hash(&bytes).to_hex().to_string(),
    };
    let name = Path::from(file.path.as_str());
    let put = store.objects().put_opts(&name, bytes.into(), PutMode::Overwrite.into()).await;
    put.map_err(|cause| CommitError::store("write", &file.path, cause))?;
    Ok(file)
}

/// Sorted values share prefixes, so delta encodings beat dictionaries here.
fn encode(batch: &RecordBatch) -> Result<Vec<u8>, parquet::errors::ParquetError> {
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(batch)?;
    writer.into_inner()
}

/// Whether a side file is what the log says; all of it is read.
pub(super) async fn check(store: &Store, file: &SideFile) -> Result<(), CommitError> {
    read(store, file).await.map(drop)
}

async fn read(store: &Store, file: &SideFile) -> Result<Vec<RecordBatch>, CommitError> {
    let bytes = fetch(store, file).await?;
    decode(file, bytes, None).map_err(|message| CommitError::damaged(&file.path, message))
}

/// As [`read`], of a file whose columns are known.
async fn read_table(store: &Store, file: &SideFile, schema: &SchemaRef) -> Result<Vec<RecordBatch>, CommitError> {
    let bytes = fetch(store, file).await?;
    decode(file, bytes, Some(schema)).map_err(|message| CommitError::damaged(&file.path, message))
}

async fn fetch(store: &Store, file: &SideFile) -> Result<Bytes, CommitError> {
    if !file.is_beside_the_log() {
        return Err(CommitError::damaged(&file.path, "it does not lie in side/"));
    }
    let name = Path::from(file.path.as_str());
    let got = store.objects().get(&name).await.map_err(|cause| CommitError::store("read", &file.path, cause))?;
    if got.meta.size != file.bytes {
        let message = format!("it has {} bytes instead of {}", got.meta.size, file.bytes);
        return Err(CommitError::damaged(&file.path, message));
    }
    let bytes: Bytes = got.bytes().await.map_err(|cause| CommitError::store("read", &file.path, cause))?;
    if blake3::hash(&bytes).to_hex().as_str() != file.digest {
        return Err(CommitError::damaged(&file.path, "its digest is not the one that the log names"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn ids(ids: Vec<i64>) -> RecordBatch {
        RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(ids)) as ArrayRef)]).unwrap()
    }

    #[test]
    fn ids_are_sorted_and_come_back() {
        let store = Store::memory("checkpoint");
        let a = ids(vec![5, 1]);
        let b = ids(vec![3]);
        let file = wait(write_ids(&store, "t", 0, &[a, b])).unwrap().unwrap();
        let back = wait(read_ids(&store, &IdFile { group: Some(1), file }, |_| true)).unwrap();
        assert_eq!(back[0].column(0).as_ref(), &Int64Array::from(vec![1, 3, 5]));
    }

    #[test]
    fn imported_ids_are_sorted_and_each_is_there_once() {
        let store = Store::memory("checkpoint");
        let file = wait(write_imported(&store, "t", 3, &[ids(vec![5, 1, 5]), ids(vec![1, 3])])).unwrap().unwrap();
        assert_eq!((file.path.as_str(), file.rows), ("side/t-imported-3.parquet", 3));
        let back = wait(read_imported(&store, &file)).unwrap();
        assert_eq!(back[0].column(0).as_ref(), &Int64Array::from(vec![1, 3, 5]));
    }

    #[test]
    fn a_side_file_that_was_altered_is_refused() {
        let store = Store::memory("checkpoint");
        let ids = ids(vec![5, 1]);
        let file = wait(write_ids(&store, "t", 0, &[ids])).unwrap().unwrap();
        wait(store.objects().put(&Path::from(file.path.as_str()), "x".into())).unwrap();
        assert!(matches!(wait(read(&store, &file)), Err(CommitError::Damaged { .. })));
    }

    #[test]
    fn nothing_but_a_side_file_is_read_as_one() {
        let store = Store::memory("checkpoint");
        let file = wait(write_ids(&store, "t", 0, &[ids(vec![5, 1])])).unwrap().unwrap();
        let bytes = wait(store.whole(&file.path)).unwrap();
        wait(store.objects().put(&Path::from("root/0"), bytes.into())).unwrap();
        let other = SideFile { path: "root/0".into(), ..file.clone() };
        let error = wait(read(&store, &other)).unwrap_err().to_string();
        assert!(error.contains("it does not lie in side/"), "{error}");
        let error = wait(read(&store, &SideFile { bytes: 9, ..file })).unwrap_err().to_string();
        assert!(error.contains("bytes instead of 9"), "{error}");
    }

    /// The number is what an entry says; the file has others.
    #[test]
    fn a_listing_that_claims_more_rows_than_memory_holds_is_refused() {
        let store = Store::memory("checkpoint");
        let file = wait(write_listing(&store, "t", &[])).unwrap();
        let file = SideFile { rows: u64::MAX, ..file };
        assert!(matches!(wait(read_listing(&store, &file)), Err(CommitError::Damaged { .. })));
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
