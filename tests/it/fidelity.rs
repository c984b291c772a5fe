//! What came is what goes out: metadata of files and fields, of several files, and where stages and the sink's columns change
//! what there is. What pyarrow sees of single files is in `other_readers`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Metadata, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Value, json};

use crate::support::pipeline::pipeline;
use crate::support::{Workdir, once, read_folder};

/// `id` and `n`, with what the file and its field `n` say.
fn write(workdir: &Workdir, name: &str, file: &[(&str, &str)], n: &[(&str, &str)]) {
    let told = |pairs: &[(&str, &str)]| Metadata::from_iter(pairs.iter().map(|(key, value)| (*key, *value)));
    let fields =
        vec![Field::new("id", DataType::Utf8, true), Field::new("n", DataType::Int64, true).with_metadata(told(n))];
    let schema = Arc::new(Schema::new_with_metadata(fields, told(file)));
    let ids: ArrayRef = Arc::new(StringArray::from(vec![format!("{name}-1"), format!("{name}-2")]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![ids, Arc::new(Int64Array::from(vec![1, 2]))]).unwrap();
    let out = std::fs::File::create(workdir.path("in").join(name)).unwrap();
    let mut writer = ArrowWriter::try_new(out, schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn first_file(folder: &Path) -> std::fs::File {
    let mut files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let file = files.find(|file| file.extension().is_some_and(|extension| extension == "parquet"));
    std::fs::File::open(file.unwrap()).unwrap()
}

/// The Arrow schema of an output file, and the keys of its footer.
fn written(folder: &Path) -> (Schema, BTreeMap<String, String>) {
    let file = SerializedFileReader::new(first_file(folder)).unwrap();
    let keys = file.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
    let keys = keys.into_iter().map(|pair| (pair.key, pair.value.unwrap_or_default()));
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(first_file(folder), ArrowReaderOptions::new());
    (reader.unwrap().schema().as_ref().clone(), keys.filter(|(key, _)| key != "ARROW:schema").collect())
}

fn copied(workdir: &Workdir, stages: &[&str], columns: &str) -> (Schema, BTreeMap<String, String>) {
    let job = pipeline(stages).sink(&format!("columns = [{columns}]"));
    workdir.pipeline(&job);
    workdir.run().finished();
    written(&workdir.path("out"))
}

fn keys(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn e4_of_several_files_what_all_agree_on_goes_out() {
    let workdir = Workdir::new();
    write(&workdir, "a.parquet", &[("owner", "me"), ("made", "monday")], &[("unit", "m"), ("PARQUET:field_id", "7")]);
    write(
        &workdir,
        "b.parquet",
        &[("owner", "me"), ("made", "friday"), ("more", "")],
        &[("unit", "km"), ("PARQUET:field_id", "7")],
    );
    // What two do not agree on, a third does not bring back.
    write(&workdir, "c.parquet", &[("owner", "me"), ("made", "monday")], &[("unit", "m"), ("PARQUET:field_id", "7")]);
    let (schema, found) = copied(&workdir, &[], "\"id\", \"n\"");
    assert_eq!(found, keys(&[("owner", "me")]));
    assert_eq!(*schema.field(1).metadata(), Metadata::from([("PARQUET:field_id", "7")]));
    assert!(schema.field(0).metadata().is_empty());
    let ids = ["a.parquet-1|1", "a.parquet-2|2", "b.parquet-1|1", "b.parquet-2|2", "c.parquet-1|1", "c.parquet-2|2"];
    assert_eq!(read_folder(&workdir.path("out")), once(ids.map(str::to_owned)));
}

/// A run that goes on knows what the first one knew, without a look at the files that are done.
#[test]
fn e4_what_the_source_says_is_kept_in_the_checkpoint() {
    let workdir = Workdir::new();
    write(&workdir, "a.parquet", &[("owner", "me")], &[("unit", "m")]);
    copied(&workdir, &[], "\"id\", \"n\"");
    write(&workdir, "b.parquet", &[("owner", "you")], &[]);
    let before = workdir.files("out");
    workdir.run().finished();
    let new: Vec<_> = workdir.files("out").into_iter().filter(|file| !before.contains(file)).collect();
    let new = new.iter().find(|file| file.extension().is_some_and(|extension| extension == "parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(new).unwrap()).unwrap();
    assert_eq!(reader.schema().field(1).metadata().get("unit").map(String::as_str), Some("m"));
    assert_eq!(reader.schema().metadata().get("owner").map(String::as_str), Some("me"));
}

fn pandas() -> String {
    let column = |name: &str| json!({ "name": name, "field_name": name, "pandas_type": "int64" });
    json!({ "index_columns": ["id"], "columns": [column("id"), column("n")] }).to_string()
}

#[test]
fn e4_pandas_and_spark_are_told_of_what_is_there() {
    let file = [("pandas", &*pandas()), ("org.apache.spark.sql.parquet.row.metadata", "{}"), ("owner", "me")];
    let check = |stages: &[&str], columns: &str, names: &[&str], index: &[&str], more: &[&str]| {
        let workdir = Workdir::new();
        write(&workdir, "a.parquet", &file, &[("unit", "m")]);
        let (schema, mut found) = copied(&workdir, stages, columns);
        let told: Value = serde_json::from_str(&found.remove("pandas").unwrap()).unwrap();
        let named: Vec<&str> =
            told["columns"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
        assert_eq!((named.as_slice(), &told["index_columns"]), (names, &json!(index)), "{columns}");
        assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), more, "{columns}");
        schema
    };
    let spark = "org.apache.spark.sql.parquet.row.metadata";
    check(&[], "\"id\", \"n\"", &["id", "n"], &["id"], &[spark, "owner"]);
    check(&[], "\"n\"", &["n"], &[], &["owner"]);
    let schema = check(&["hostile.double"], "\"id\", \"n\", \"double\"", &["id", "n"], &["id"], &["owner"]);
    assert!(schema.field(2).metadata().is_empty(), "what a stage makes has nothing of the source");
    assert_eq!(*schema.field(1).metadata(), Metadata::from([("unit", "m")]));
}
