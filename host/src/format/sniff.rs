//! What a file is that is no Parquet file one can read, by its first and last bytes: it is called that, and the hint says what
//! helps. Only what is broken is called broken.

use super::FormatError;
use super::compression::Compression;

/// A name for people, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub is: &'static str,
    pub hint: &'static str,
}

const CONVERT: &str = "Parquet and JSON Lines are read: convert it (DuckDB and pyarrow read it and write Parquet), or name the Parquet files \
                       alone, as in \"folder/*.parquet\"";
const UNPACK: &str =
    "unpack it first; Parquet files are compressed within, so nothing is gained by compressing them again";
const ELSEWHERE: &str = "name the Parquet files alone, as in \"folder/*.parquet\"";
const JSON_LINES: &str = "is JSON Lines";
const AS_LINES: &str = "end its name in .jsonl, .ndjson or .json, or write format = \"jsonl\" under [source]; or name the Parquet files \
                        alone, as in \"folder/*.parquet\"";
const NAME: &str = "end its name in .gz or .zst, which says how lines are compressed";
const LINES_ELSEWHERE: &str = "name the files of JSON Lines alone, as in \"folder/*.jsonl\"";
const AGAIN: &str =
    "the writer did not finish it, or a copy ended early: write or copy it again, or name the other files";
const DECRYPT: &str = "keys are not taken here: decrypt it with the tool that wrote it (pyarrow and Spark read and write such \
                       files), and name the decrypted file";

/// A file or a column that needs a key.
pub(super) const ENCRYPTED: Kind = Kind { is: "is encrypted", hint: DECRYPT };
const EMPTY: Kind = Kind { is: "is empty: it has 0 bytes", hint: AGAIN };
/// The end is not there, or not all of it.
pub(super) const CUT: Kind =
    Kind { is: "begins as a Parquet file, but its end, the footer, is not whole", hint: AGAIN };
const NO_BEGINNING: Kind = Kind { is: "is no Parquet file: it neither begins nor ends as one", hint: ELSEWHERE };

/// First bytes, and whose they are.
const BEGINNINGS: &[(&[u8], &str, &str)] = &[
    (b"ARROW1", "is an Arrow IPC file (Feather)", CONVERT),
    (b"\xff\xff\xff\xff", "is an Arrow IPC stream", CONVERT),
    (b"FEA1", "is a Feather file of version 1", CONVERT),
    (b"ORC", "is an ORC file", CONVERT),
    (b"Obj\x01", "is an Avro file", CONVERT),
    (b"SQLite format 3\0", "is an SQLite database", CONVERT),
    (b"\x89HDF\r\n", "is an HDF5 file", CONVERT),
    (b"\x1f\x8b", "is compressed with gzip", UNPACK),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd", UNPACK),
    (b"\x04\x22\x4d\x18", "is compressed with LZ4", UNPACK),
    (b"BZh", "is compressed with bzip2", UNPACK),
    (b"\xfd7zXZ\0", "is compressed with xz", UNPACK),
    (b"\xff\x06\0\0sNaPpY", "is compressed with Snappy", UNPACK),
    (b"PK\x03\x04", "is a ZIP archive", UNPACK),
    (b"PARE", "is encrypted", DECRYPT),
    (
        b"version https://git-lfs",
        "is a pointer of Git LFS, which stands for the file",
        "fetch the file itself: `git lfs pull`",
    ),
];

/// What a file is whose last bytes are not those of a Parquet file.
pub(super) fn no_parquet(head: &[u8], tail: &[u8]) -> Kind {
    let known = BEGINNINGS.iter().find(|(beginning, ..)| head.starts_with(beginning));
    match known {
        _ if head.is_empty() => EMPTY,
        _ if tail.ends_with(b"PARE") => ENCRYPTED,
        Some((_, is, hint)) => Kind { is, hint },
        None if head.starts_with(b"PAR1") => CUT,
        None => {
            text(head).map_or(NO_BEGINNING, |is| Kind { is, hint: if is == JSON_LINES { AS_LINES } else { CONVERT } })
        }
    }
}

/// Refuses what is known not to be text, or to be compressed in another way than its name says.
pub(super) fn refuse_other_than_text(head: &[u8], compression: Compression) -> Result<(), FormatError> {
    let refuse = |is: &str, hint| Err(FormatError::Bad { message: is.to_owned(), hint });
    let known = BEGINNINGS.iter().find(|(beginning, ..)| head.starts_with(beginning));
    match (known, compression) {
        // What unpacks it says what is wrong.
        (_, Compression::Gzip | Compression::Zstd) => Ok(()),
        (Some((_, is @ ("is compressed with gzip" | "is compressed with zstd"), _)), Compression::None) => {
            refuse(is, NAME)
        }
        (Some((_, is, UNPACK)), _) => {
            refuse(is, "compress it with gzip or zstd instead, and end its name in .gz or .zst")
        }
        (Some((_, is, CONVERT)), _) => refuse(is, LINES_ELSEWHERE),
        (Some((_, is, hint)), _) => refuse(is, hint),
        _ if head.starts_with(b"PAR1") => refuse("is a Parquet file", LINES_ELSEWHERE),
        _ if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") => {
            refuse("is text in UTF-16", "write it in UTF-8, for example with iconv -f UTF-16 -t UTF-8")
        }
        _ => Ok(()),
    }
}

/// What kind of text it is, if it is text.
fn text(head: &[u8]) -> Option<&'static str> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The last character may be cut.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&head[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let is_control = |c: char| c.is_control() && !matches!(c, '\t' | '\r' | '\n');
    let first = text.lines().find(|line| !line.trim().is_empty())?.trim();
    match first.chars().next()? {
        _ if text.contains(is_control) => None,
        '{' if first.ends_with('}') => Some(JSON_LINES),
        '{' | '[' => Some("is JSON"),
        '<' => Some("is XML or HTML"),
        _ if first.contains('\t') => Some("is text with tabs (TSV)"),
        _ if first.contains([',', ';', '|']) => Some("is CSV"),
        _ => Some("is plain text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(head: &[u8], tail: &[u8], is: &str) {
        assert_eq!(no_parquet(head, tail).is, is);
    }

    #[test]
    fn a_file_is_called_what_it_is() {
        let same = |bytes: &[u8], is: &str| check(bytes, bytes, is);
        same(b"", "is empty: it has 0 bytes");
        same(b"{\"id\": 1}\n{\"id\": 2}\n", "is JSON Lines");
        same(b"\xef\xbb\xbf{\"id\": 1}\r\n", "is JSON Lines");
        same(b"[\n {\"id\": 1}\n]", "is JSON");
        same(b"{\n \"id\": 1\n}", "is JSON");
        same("id,größe\n1,2\n".as_bytes(), "is CSV");
        same(b"id\tsize\n1\t2\n", "is text with tabs (TSV)");
        same(b"<?xml version=\"1.0\"?><Error>", "is XML or HTML");
        same(b"hello\n", "is plain text");
        same(b"\x1f\x8b\x08\0abc", "is compressed with gzip");
        same(b"ARROW1\0\0abc", "is an Arrow IPC file (Feather)");
        same(b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS, which stands for the file");
        same(b"PAR1abcdefgh", "begins as a Parquet file, but its end, the footer, is not whole");
        same(b"\0\x01\x02\x03\xfe\xfd", "is no Parquet file: it neither begins nor ends as one");
        check(b"PARE....", b"....PARE", "is encrypted");
        // Characters that the piece of the file cuts in two.
        same(&"ü,".repeat(3).as_bytes()[..7], "is CSV");
    }
}
