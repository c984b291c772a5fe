//! Whole objects that are compressed, as text formats are. Formats that compress parts of their own do it themselves.
//!
//! * [`inflate`] - gzip and zstd become plain bytes, with bounded memory.
//! * [`pack`] - plain bytes become gzip members or zstd frames that can be joined.

pub mod inflate;
pub mod pack;

use std::fmt;

/// How the bytes of an object are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// They stand as they are.
    None,
    /// Members of gzip, RFC 1952.
    Gzip,
    /// Frames of Zstandard, RFC 8878.
    Zstd,
}

impl Compression {
    /// How an object is compressed, by the end of its name.
    pub fn of_name(name: &str) -> Compression {
        match name.rsplit('.').next() {
            Some("gz") => Compression::Gzip,
            Some("zst") => Compression::Zstd,
            _ => Compression::None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        })
    }
}
