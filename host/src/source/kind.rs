//! What names of files say of their format.

/// A format of files of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Apache Parquet.
    Parquet,
    /// JSON Lines, perhaps compressed as a whole.
    JsonLines,
}

/// Ends of names of JSON Lines, and what may stand behind them.
const LINES: [&str; 3] = [".jsonl", ".ndjson", ".json"];
const PACKED: [&str; 2] = [".gz", ".zst"];

impl FileKind {
    /// By the end of a name; none if it says nothing.
    pub fn of(path: &str) -> Option<FileKind> {
        FileKind::cut(path).map(|(_, kind)| kind)
    }

    /// A name without the ending that says what the file is.
    pub fn stem(path: &str) -> &str {
        FileKind::cut(path).map_or(path, |(stem, _)| stem)
    }

    fn cut(path: &str) -> Option<(&str, FileKind)> {
        if let Some(stem) = path.strip_suffix(".parquet") {
            return Some((stem, FileKind::Parquet));
        }
        let plain = PACKED.iter().find_map(|end| path.strip_suffix(end)).unwrap_or(path);
        let stem = LINES.iter().find_map(|end| plain.strip_suffix(end))?;
        Some((stem, FileKind::JsonLines))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_files_are() {
        let lines = ["a.jsonl", "a.ndjson", "a.json", "a.jsonl.gz", "x/a.json.zst", "a.b.ndjson.gz"];
        assert!(lines.iter().all(|name| FileKind::of(name) == Some(FileKind::JsonLines)));
        assert_eq!(FileKind::of("x.jsonl/a.parquet"), Some(FileKind::Parquet));
        assert_eq!(["x/a.b.ndjson.gz", "a.parquet", "a.csv"].map(FileKind::stem), ["x/a.b", "a", "a.csv"]);
        for name in ["a", "a.gz", "a.jsonl/b", "a.parquet.gz", "jsonl", "a.csv", "a.jsonl.bz2"] {
            assert_eq!(FileKind::of(name), None, "{name}");
        }
    }
}
