//! The corpus: the text files of the machine's cargo registry, which building wasmpipe has put there. Real code and
//! prose by many hands, the same on every machine that has the same `Cargo.lock`, and no download of its own.
//!
//! A row is a file: `path` (crate/version/path, the id), `crate`, `language` (by extension) and `text`. Rows are in
//! order of `path`; the files and row groups are cut at fixed counts. Same registry, same bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::Result;

const TEXT_BYTES_MAX: u64 = 1 << 20;
const FILES_MIN: usize = 12_000;
const BYTES_MIN: u64 = 100_000_000;
/// Of the full corpus, the small one has every eighth file.
const SMALL_STEP: usize = 8;
const ROWS_PER_FILE: usize = 2_048;
const ROWS_PER_ROW_GROUP: usize = 256;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Size {
    Full,
    Small,
}

/// What was packed.
pub(crate) struct Packed {
    pub(crate) rows: usize,
    pub(crate) text_bytes: u64,
    pub(crate) files: usize,
    pub(crate) row_groups: usize,
}

impl fmt::Display for Packed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Packed { rows, text_bytes, files, row_groups } = self;
        let megabytes = text_bytes / 1_000_000;
        write!(f, "{rows} text files, {megabytes} MB, in {files} Parquet files with {row_groups} row groups")
    }
}

/// Packs the registry's text files into `out`, a folder that is there and empty.
pub(crate) fn pack(out: &Path, size: Size) -> Result<Packed> {
    let registry = registry()?;
    let mut texts = text_files(&registry)?;
    enough(&texts, &registry)?;
    if size == Size::Small {
        texts = texts.into_iter().step_by(SMALL_STEP).collect();
    }
    let mut packed = Packed { rows: 0, text_bytes: 0, files: 0, row_groups: 0 };
    for (number, rows) in texts.chunks(ROWS_PER_FILE).enumerate() {
        write_file(&out.join(format!("part-{number:03}.parquet")), rows)?;
        packed.rows += rows.len();
        packed.text_bytes += rows.iter().map(|text| text.bytes).sum::<u64>();
        packed.files += 1;
        packed.row_groups += rows.len().div_ceil(ROWS_PER_ROW_GROUP);
    }
    Ok(packed)
}

/// The corpus several times: its files again under other names, without other bytes on the disk. Every row is work of its
/// own, whatever its id.
pub(crate) fn copy(corpus: &Path, times: usize, packed: &mut Packed) -> Result {
    for file in sorted_entries(corpus)? {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        for copy in 1..times {
            std::fs::hard_link(&file, corpus.join(format!("copy-{copy:03}-{name}")))?;
        }
    }
    packed.rows *= times;
    packed.text_bytes *= times as u64;
    packed.files *= times;
    packed.row_groups *= times;
    Ok(())
}

/// One file of one crate; its text is read again when its turn to be written comes.
struct Text {
    path: String,
    crate_name: String,
    bytes: u64,
    file: PathBuf,
}

fn registry() -> Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    Ok(home.ok_or("neither CARGO_HOME nor HOME is set\nhint: set CARGO_HOME")?.join("registry/src"))
}

fn enough(texts: &[Text], registry: &Path) -> Result {
    let bytes: u64 = texts.iter().map(|text| text.bytes).sum();
    if texts.len() >= FILES_MIN && bytes >= BYTES_MIN {
        return Ok(());
    }
    Err(format!(
        "{} holds {} text files with {} bytes; the quickstart wants at least {FILES_MIN} with {BYTES_MIN}\n\
         hint: run `cargo fetch` in the project, which unpacks every crate of its Cargo.lock there",
        registry.display(),
        texts.len(),
        bytes,
    )
    .into())
}

/// All text files under the registry, in order of `path`. A crate that two registries hold counts once.
fn text_files(registry: &Path) -> Result<Vec<Text>> {
    let mut texts = BTreeMap::new();
    for index in sorted_entries(registry)? {
        for folder in sorted_entries(&index)?.into_iter().filter(|path| path.is_dir()) {
            let Some((name, version)) = name_and_version(&folder) else {
                continue;
            };
            walk(&folder, &mut |file, bytes| {
                let Some(rest) = file.strip_prefix(&folder).ok().and_then(Path::to_str) else {
                    return;
                };
                let path = format!("{name}/{version}/{rest}");
                let text = Text { path: path.clone(), crate_name: name.clone(), bytes, file: file.to_owned() };
                texts.entry(path).or_insert(text);
            })?;
        }
    }
    Ok(texts.into_values().collect())
}

/// `wit-bindgen-0.57.1` is crate `wit-bindgen`, version `0.57.1`.
fn name_and_version(folder: &Path) -> Option<(String, String)> {
    let folder = folder.file_name()?.to_str()?;
    let dash = folder.match_indices('-').map(|(at, _)| at).find(|&at| is_version(&folder[at + 1..]))?;
    Some((folder[..dash].to_owned(), folder[dash + 1..].to_owned()))
}

/// Three numbers with dots between, and anything after.
fn is_version(text: &str) -> bool {
    let core = text.split(['-', '+']).next().unwrap_or(text);
    let numbers: Vec<&str> = core.split('.').collect();
    numbers.len() == 3 && numbers.iter().all(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Calls `found` with every text file below `folder`. What cargo itself puts there is none.
fn walk(folder: &Path, found: &mut impl FnMut(&Path, u64)) -> Result {
    for path in sorted_entries(folder)? {
        let about = path.symlink_metadata()?;
        if about.is_dir() {
            walk(&path, found)?;
        } else if about.is_file() && about.len() <= TEXT_BYTES_MAX && !path.ends_with(".cargo-ok") && is_text(&path)? {
            found(&path, about.len());
        }
    }
    Ok(())
}

fn is_text(path: &Path) -> Result<bool> {
    Ok(std::str::from_utf8(&std::fs::read(path)?).is_ok_and(|text| !text.contains('\0')))
}

fn sorted_entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(folder).map_err(|e| format!("{}: {e}\nhint: run `cargo fetch`", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn write_file(out: &Path, rows: &[Text]) -> Result {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROWS_PER_ROW_GROUP))
        .build();
    let mut writer = ArrowWriter::try_new(File::create(out)?, schema(), Some(properties))?;
    for rows in rows.chunks(ROWS_PER_ROW_GROUP) {
        writer.write(&batch(rows)?)?;
    }
    writer.close()?;
    Ok(())
}

fn schema() -> SchemaRef {
    let columns = ["path", "crate", "language", "text"];
    Arc::new(Schema::new(columns.map(|name| Field::new(name, DataType::Utf8, false)).to_vec()))
}

fn batch(rows: &[Text]) -> Result<RecordBatch> {
    let texts = rows.iter().map(|row| Ok(std::fs::read_to_string(&row.file)?)).collect::<Result<Vec<_>>>()?;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.path))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.crate_name))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| language(&row.path)))),
        Arc::new(StringArray::from_iter_values(texts)),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

fn language(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension.to_ascii_lowercase().as_str() {
        "rs" => "rust",
        "toml" | "lock" => "toml",
        "md" => "markdown",
        "txt" => "text",
        "c" | "h" => "c",
        "cc" | "cpp" | "hpp" => "c++",
        "s" | "asm" => "assembly",
        "py" => "python",
        "js" | "mjs" | "ts" => "javascript",
        "sh" => "shell",
        "json" => "json",
        "yml" | "yaml" => "yaml",
        "wit" => "wit",
        "wat" | "wast" => "wat",
        "isle" => "isle",
        "cmake" => "cmake",
        _ if name.starts_with("LICENSE") || name.starts_with("COPYING") => "text",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crate_folders_split_at_the_version() {
        let check = |folder: &str| name_and_version(Path::new(folder)).map(|(n, v)| format!("{n} {v}"));
        assert_eq!(check("wit-bindgen-0.57.1").as_deref(), Some("wit-bindgen 0.57.1"));
        assert_eq!(check("zstd-sys-2.1.2+zstd.1.5.7").as_deref(), Some("zstd-sys 2.1.2+zstd.1.5.7"));
        assert_eq!(check("x-1-2.0.0-rc.1").as_deref(), Some("x-1 2.0.0-rc.1"));
        assert_eq!(check("no_version"), None);
    }

    #[test]
    fn languages_go_by_the_extension() {
        assert_eq!(language("a/1.0.0/src/lib.rs"), "rust");
        assert_eq!(language("a/1.0.0/LICENSE-MIT"), "text");
        assert_eq!(language("a/1.0.0/x.S"), "assembly");
        assert_eq!(language("a/1.0.0/.gitignore"), "other");
    }
}
