//! What names of files say of their format.

/// A format of files of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Apache Parquet.
    Parquet,
    /// JSON Lines, perhaps compressed as a whole.
    JsonLines,
}

impl FileKind {
    /// By the end of a name; none if it says nothing.
    pub fn of(path: &str) -> Option<FileKind> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let plain = [".gz", ".zst"].iter().find_map(|end| name.strip_suffix(end));
        let is_lines = |name: &str| [".jsonl", ".ndjson", ".json"].iter().any(|end| name.ends_with(end));
        match name {
            _ if name.ends_with(".parquet") => Some(FileKind::Parquet),
            _ if is_lines(plain.unwrap_or(name)) => Some(FileKind::JsonLines),
            _ => None,
        }
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
        for name in ["a", "a.gz", "a.jsonl/b", "a.parquet.gz", "jsonl", "a.csv", "a.jsonl.bz2"] {
            assert_eq!(FileKind::of(name), None, "{name}");
        }
    }
}
