//! The sorted id file: an exact set of byte strings, sorted, immutable, made to be memory-mapped.
//!
//! It answers one question, "is this id in the set?", for sets that do not fit in memory. [`Builder`] takes ids in any order
//! and writes the file with an external merge sort; [`Ids`] opens its bytes, from a `Vec` or from a mapping.
//! It is not a database: nothing is ever changed in place, and a damaged file is deleted and built again from what
//! it was derived from. What the ids mean, and how typed values become bytes, is the caller's business.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let (scratch, path) = (folder.path(), folder.path().join("done.ids"));
//! let mut builder = wasmpipe_ids::Builder::new(scratch, 64 << 20);
//! builder.add(b"serde/1.0/src/lib.rs")?;
//! builder.add(b"blake3/1.8/src/lib.rs")?;
//! builder.finish(&path)?;
//!
//! let ids = wasmpipe_ids::Ids::open(std::fs::read(&path)?)?;
//! assert!(ids.contains(b"serde/1.0/src/lib.rs")?);
//! assert!(!ids.contains(b"serde/1.0/src/de.rs")?);
//! # Ok(())
//! # }
//! ```
//!
//! # The bytes, version 1
//!
//! All numbers are unsigned and little endian; nothing is aligned or padded. Ids are compared as plain bytes, a prefix before
//! what it begins. A checksum is the first 8 bytes of the BLAKE3 hash, read as a `u64`.
//!
//! ```text
//! file      header | blocks | separators | records | footer
//!
//! header     0  8  magic "WPIPEIDS"
//!            8  4  version = 1
//!           12  4  zero
//!
//! block      0  4  ids in this block, n >= 1
//!            4  4r r = ceil(n / 16) restarts: where ids 0, 16, 32 .. start, counted from the block's first byte
//!         4+4r  .. n entries, without gaps, to the block's last byte
//!
//! entry      varint  shared: length of the longest common prefix with the id before; 0 at a restart
//!            varint  rest: how many bytes follow
//!            rest    the id without its shared prefix
//!
//! varint     LEB128 of a u32: 7 bits a byte, low ones first, top bit set on all bytes but the last; at most 5 bytes
//!
//! separators one byte string per block, without gaps: s with (last id of the block before) < s <= (first id of this
//!            block), as short as possible; empty for block 0
//!
//! record     0  8  where the block starts in the file         (one record of 32 bytes per block, in order)
//!            8  4  bytes of the block
//!           12  4  bytes of its separator
//!           16  8  where the separator starts, counted from the first separator's first byte
//!           24  8  checksum of the block's bytes
//!
//! footer     0  8  ids in the file                            (the file's last 56 bytes)
//!            8  8  blocks
//!           16  8  where the separators start in the file
//!           24  8  where the records start in the file
//!           32  8  checksum of separators and records
//!           40  8  checksum of the header's 16 bytes followed by the footer's first 40
//!           48  8  magic "WPIPEIDS"
//! ```
//!
//! Blocks are closed before they grow past 4 KiB; an id longer than that has a block of its own. So a lookup is a binary
//! search over separators, one over the restarts of one block, and a scan of at most 16 entries.
//!
//! # What is checked when
//!
//! Opening checks footer, header, and the whole index (separators and records); each block's checksum is checked when it is first
//! touched; [`Ids::verify`] checks everything, order and counts included. Checksums find accidents. A file that someone forged,
//! checksums and all, can answer wrongly, but never makes the reader panic or read outside its bytes.

mod block;
mod build;
mod error;
mod format;
mod index;
mod merge;
mod read;
mod scratch;
mod sort;
mod walk;
mod write;

pub use build::{Builder, Summary};
pub use error::{BuildError, Damage, Part};
pub use format::ID_BYTES_MAX;
pub use read::Ids;
pub use walk::Walk;
