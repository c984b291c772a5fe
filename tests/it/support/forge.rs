//! The log as somebody writes it who knows the format and lies: what an entry or a table says is changed, and every digest
//! above it is taken anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray, UInt64Array};
use arrow::compute::concat_batches;
use arrow::datatypes::UInt64Type;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};

use super::attacked::Changes;
use super::place::Objects;

/// The documents of a checkpoint, by name, and its tables.
#[derive(Clone, Debug)]
pub struct Forge {
    was: Objects,
    documents: BTreeMap<String, Value>,
    tables: Objects,
}

impl Forge {
    /// Of files by their names below the job's folder.
    pub fn new(files: &Objects) -> Forge {
        let is_entry = |name: &String| name.starts_with("checkpoint/root/") || name.starts_with("checkpoint/lane/");
        let entries = files.iter().filter(|(name, _)| is_entry(name));
        let documents = entries.map(|(name, bytes)| (name.clone(), serde_json::from_slice(bytes).unwrap())).collect();
        Forge { was: files.clone(), documents, tables: Objects::new() }
    }

    /// An entry, with what stands around what it says.
    pub fn document(&mut self, name: &str) -> &mut Value {
        self.documents.get_mut(name).unwrap()
    }

    /// What an entry says.
    pub fn body(&mut self, name: &str) -> &mut Value {
        &mut self.documents.get_mut(name).unwrap_or_else(|| panic!("{name}"))["body"]
    }

    pub fn token(&self, name: &str) -> &Value {
        &self.documents[name]["body"]["token"]
    }

    /// Names of entries of a kind, in order.
    pub fn entries(&self, log: &str, kind: &str) -> Vec<String> {
        let prefix = format!("checkpoint/{log}/");
        let is_it =
            |(name, document): &(&String, &Value)| name.starts_with(&prefix) && document["body"]["entry"] == kind;
        self.documents.iter().filter(is_it).map(|(name, _)| name.clone()).collect()
    }

    /// Changes the rows of a side file that an entry names under a key. Gives its name.
    pub fn table(&mut self, name: &str, key: &str, edit: impl FnOnce(&RecordBatch) -> RecordBatch) -> String {
        let path = self.body(name)[key]["path"].as_str().unwrap().to_owned();
        let table = format!("checkpoint/{path}");
        let rows = edit(&read(&self.was[&table]));
        let bytes = written(&rows);
        let digest = blake3::hash(&bytes).to_hex().to_string();
        self.body(name)[key] = json!({ "path": path, "rows": rows.num_rows(), "bytes": bytes.len(), "digest": digest });
        self.tables.insert(table.clone(), bytes);
        table
    }

    /// Every digest is taken anew: first those of the root, which lanes name.
    pub fn sealed(mut self) -> Changes {
        let mut sealed = Objects::new();
        for log in self.logs() {
            let names: Vec<String> = self.documents.keys().filter(|name| log_of(name) == log).cloned().collect();
            let mut below: Option<(u64, String)> = None;
            for name in names {
                let document = self.documents.get_mut(&name).unwrap();
                link(document, below.take(), &sealed);
                let bytes = seal(document);
                below = Some((number(&name), digest(&bytes)));
                sealed.insert(name, bytes);
            }
        }
        let all = sealed.into_iter().chain(self.tables);
        all.filter(|(name, bytes)| self.was[name] != *bytes).map(|(name, bytes)| (name, Some(bytes))).collect()
    }

    fn logs(&self) -> Vec<String> {
        let mut logs: Vec<String> = self.documents.keys().map(|name| log_of(name).to_owned()).collect();
        logs.dedup();
        logs.sort_by_key(|log| !log.ends_with("/root"));
        logs
    }
}

fn log_of(name: &str) -> &str {
    name.rsplit_once('/').unwrap().0
}

fn number(name: &str) -> u64 {
    name.rsplit('/').next().unwrap().parse().unwrap()
}

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// What it names of the entry below and of a root entry, if it names them.
fn link(document: &mut Value, below: Option<(u64, String)>, sealed: &Objects) {
    if let Some((number, below)) = below
        && document["below"].is_string()
        && document["number"] == number + 1
    {
        document["below"] = below.into();
    }
    let body = &mut document["body"];
    if let (Some(root), true) = (body["root"].as_u64(), body.get("root_digest").is_some())
        && let Some(bytes) = sealed.get(&format!("checkpoint/root/{root:010}"))
    {
        body["root_digest"] = digest(bytes).into();
    }
}

/// A document that says something else, with the digest of that.
pub fn resealed(bytes: &[u8], edit: impl FnOnce(&mut Value)) -> Bytes {
    let mut document = serde_json::from_slice(bytes).unwrap();
    edit(&mut document);
    seal(&mut document)
}

/// As the host seals it. The order of the other keys means nothing.
fn seal(document: &mut Value) -> Bytes {
    document.as_object_mut().unwrap().remove("digest");
    let mut text = serde_json::to_string_pretty(document).unwrap();
    text.truncate(text.len() - "\n}".len());
    let digest = digest(text.as_bytes());
    format!("{text},\n  \"digest\": \"{digest}\"\n}}").into()
}

fn read(table: &Bytes) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(table.clone()).unwrap();
    let schema = Arc::clone(reader.schema());
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

fn written(rows: &RecordBatch) -> Bytes {
    let zstd = Compression::ZSTD(ZstdLevel::try_new(1).unwrap());
    let properties = WriterProperties::builder().set_dictionary_enabled(false).set_compression(zstd).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    writer.into_inner().unwrap().into()
}

/// Changes one number of a table.
pub fn number_at(rows: &RecordBatch, column: &str, row: usize, edit: impl FnOnce(u64) -> u64) -> RecordBatch {
    let mut numbers: Vec<u64> = rows[column].as_primitive::<UInt64Type>().values().to_vec();
    numbers[row] = edit(numbers[row]);
    with_column(rows, column, Arc::new(UInt64Array::from(numbers)))
}

/// Changes one text of a table.
pub fn text_at(rows: &RecordBatch, column: &str, row: usize, edit: impl FnOnce(&str) -> String) -> RecordBatch {
    let texts = rows[column].as_string::<i32>();
    let mut texts: Vec<Option<String>> = texts.iter().map(|text| text.map(str::to_owned)).collect();
    texts[row] = texts[row].as_deref().map(edit);
    with_column(rows, column, Arc::new(StringArray::from(texts)))
}

fn with_column(rows: &RecordBatch, column: &str, values: ArrayRef) -> RecordBatch {
    let mut columns = rows.columns().to_vec();
    columns[rows.schema().index_of(column).unwrap()] = values;
    RecordBatch::try_new(rows.schema(), columns).unwrap()
}

/// The first row once more.
pub fn doubled_row(rows: &RecordBatch) -> RecordBatch {
    concat_batches(&rows.schema(), [&rows.slice(0, 1), rows]).unwrap()
}

pub fn without_row(rows: &RecordBatch) -> RecordBatch {
    rows.slice(1, rows.num_rows() - 1)
}
