//! What a compaction keeps besides coverage and ids: groups, their files, opens.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::super::CommitError;
use super::super::document::FORMAT_1;
use super::super::entry::{FileEntry, SideFile};
use super::super::replay::{GroupState, OpenState};
use super::{numbers, read_either, read_table, strings, write};
use crate::sink::{Holds, Span};
use crate::store::Store;

/// The groups of a compaction, and their files.
pub(in crate::commit) async fn write_groups(
    store: &Store,
    prefix: &str,
    groups: &BTreeMap<u64, GroupState>,
    format: u32,
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
        groups.iter().flat_map(|(number, group)| group.files.iter().map(move |file| (*number, file))).collect();
    Ok((written, write_files(store, format!("{prefix}-files.parquet"), &files, format).await?))
}

/// Sink files, each with its group; 0 in the table of a segment, which is of one group. One that says which source rows it
/// holds has a row for each range of them.
pub(in crate::commit) async fn write_files(
    store: &Store,
    path: String,
    files: &[(u64, &FileEntry)],
    format: u32,
) -> Result<SideFile, CommitError> {
    let has_spans = files.iter().any(|(_, file)| file.holds.is_some());
    let rows: Vec<(u64, &FileEntry, Option<&Span>)> =
        files.iter().flat_map(|(group, file)| rows_of(*group, file)).collect();
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(group, ..)| *group).collect::<UInt64Array>()),
        Arc::new(rows.iter().map(|(_, file, _)| Some(file.path.as_str())).collect::<StringArray>()),
        Arc::new(rows.iter().map(|(_, file, _)| file.rows).collect::<UInt64Array>()),
        Arc::new(rows.iter().map(|(_, file, _)| file.bytes).collect::<UInt64Array>()),
    ];
    if format != FORMAT_1 {
        columns.push(Arc::new(rows.iter().map(|(_, file, _)| file.digest.as_deref()).collect::<StringArray>()));
    }
    if has_spans {
        let object = |file: &'_ FileEntry| file.holds.as_ref().map(|holds| holds.object.clone());
        let number = |number: fn(&Span) -> u64| -> ArrayRef {
            Arc::new(rows.iter().map(|(.., span)| span.map(number)).collect::<UInt64Array>())
        };
        columns.push(Arc::new(rows.iter().map(|(_, file, _)| object(file)).collect::<StringArray>()));
        columns.extend([number(|span| span.start), number(|span| span.end), number(|span| span.rows)]);
    }
    let batch = RecordBatch::try_new(files_schema(format, has_spans), columns).expect("columns as in the schema");
    write(store, path, &batch).await
}

fn rows_of(group: u64, file: &FileEntry) -> Vec<(u64, &FileEntry, Option<&Span>)> {
    match &file.holds {
        Some(holds) => holds.spans.iter().map(|span| (group, file, Some(span))).collect(),
        None => vec![(group, file, None)],
    }
}

fn groups_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("group", DataType::UInt64, false),
        Field::new("root", DataType::UInt64, false),
        Field::new("counts", DataType::Utf8, false),
    ]))
}

fn files_schema(format: u32, has_spans: bool) -> SchemaRef {
    let mut fields = vec![
        Field::new("group", DataType::UInt64, false),
        Field::new("path", DataType::Utf8, false),
        Field::new("rows", DataType::UInt64, false),
        Field::new("bytes", DataType::UInt64, false),
    ];
    if format != FORMAT_1 {
        // Null for files that a job of format 1 had written before it was lifted.
        fields.push(Field::new("digest", DataType::Utf8, true));
    }
    if has_spans {
        // Null for files that say nothing of it.
        fields.push(Field::new("object", DataType::Utf8, true));
        fields.extend(["start", "end", "span_rows"].map(|name| Field::new(name, DataType::UInt64, true)));
    }
    Arc::new(Schema::new(fields))
}

/// Reads the groups of a compaction.
pub(in crate::commit) async fn read_groups(
    store: &Store,
    groups: &SideFile,
    files: &SideFile,
    format: u32,
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
    for (group, file) in read_files(store, files, format).await? {
        let state: Option<&mut GroupState> = states.get_mut(&group);
        let state = state.ok_or_else(|| CommitError::damaged(&files.path, format!("there is no group {group}")))?;
        state.files.push(file);
    }
    Ok(states)
}

/// Reads a table of sink files, each with its group.
pub(in crate::commit) async fn read_files(
    store: &Store,
    table: &SideFile,
    format: u32,
) -> Result<Vec<(u64, FileEntry)>, CommitError> {
    let mut files: Vec<(u64, FileEntry)> = Vec::new();
    let schemas = [files_schema(format, false), files_schema(format, true)];
    for batch in read_either(store, table, &schemas[..if format == FORMAT_1 { 1 } else { 2 }]).await? {
        for at in 0..batch.num_rows() {
            let path = strings(&batch, 1).value(at).to_string();
            let (group, held) = (numbers(&batch, 0).value(at), held(&batch, at));
            if let Some((_, last)) = files.last_mut().filter(|(other, last)| *other == group && last.path == path)
                && let (Some(last), Some(held)) = (&mut last.holds, &held)
            {
                last.spans.extend(&held.spans);
                continue;
            }
            let (rows, bytes) = (numbers(&batch, 2).value(at), numbers(&batch, 3).value(at));
            let digests = (format != FORMAT_1).then(|| strings(&batch, 4)).filter(|digests| digests.is_valid(at));
            let digest = digests.map(|digests| digests.value(at).to_string());
            files.push((group, FileEntry { path, rows, bytes, digest, holds: held }));
        }
    }
    Ok(files)
}

/// What a row says of source rows.
fn held(batch: &RecordBatch, at: usize) -> Option<Holds> {
    let objects =
        (batch.num_columns() > SPANS).then(|| strings(batch, SPANS)).filter(|objects| objects.is_valid(at))?;
    let number = |column| numbers(batch, column).value(at);
    let span = Span { start: number(SPANS + 1), end: number(SPANS + 2), rows: number(SPANS + 3) };
    Some(Holds { object: objects.value(at).into(), spans: vec![span] })
}

/// Columns of a table of files before those of source rows.
const SPANS: usize = 5;

/// The opens that a compaction covers.
pub(in crate::commit) async fn write_opens(
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
pub(in crate::commit) async fn read_opens(
    store: &Store,
    file: &SideFile,
) -> Result<BTreeMap<u64, OpenState>, CommitError> {
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
