//! The sorted id file: an exact set of ids, immutable, made to be memory-mapped.
//!
//! It answers one question, "which of these ids are in the set?", for sets that do not fit in memory. [`Builder`] takes columns of ids
//! in any order and writes the file with an external merge sort; [`Ids`] opens its bytes, from a `Vec` or from a mapping.
//! It is not a database: nothing is ever changed in place, and a damaged file is deleted and built again from what
//! it was derived from. Ids are numbers or byte strings; what they stand for is the caller's business.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let (scratch, path) = (folder.path(), folder.path().join("done.ids"));
//! use wasmpipe_ids::{Builder, Column, Ids};
//!
//! let builder = Builder::new(scratch, 64 << 20, 2);
//! builder.add(Column::strings(&[0, 7, 14], b"row-100row-7ab"))?;
//! builder.finish(&path)?;
//!
//! let ids = Ids::open(std::fs::read(&path)?)?;
//! assert_eq!(ids.ask(Column::strings(&[0, 7, 12, 19], b"row-100row-9row-7ab"))?, [0b101]);
//! # Ok(())
//! # }
//! ```
//!
//! # Why it looks as it does
//!
//! Most ids are numbers, or text made of numbers: `80000000`, `shard-000123/doc-456`, UUIDs, hashes. So a file keeps sets of numbers,
//! and byte strings that differ only in their digits are a set of numbers with a template, which is found from the string alone (see
//! the module `template`). Within a template numbers sort as the strings do, so that a sorted source stays sorted. What has no digits to
//! take out is kept as it is, front-coded. Consecutive numbers, which is how most sources count, cost nothing; others cost their low
//! bits.
//!
//! Compared by measurement (`cargo xtask bench ids`; `tests/bench/RESULTS.md` has the tables): front coding of all ids in blocks of
//! 4 KiB with a sparse index, which was the format's first version and is what strings without templates get; sorted 128-bit
//! fingerprints with interpolation search; and this. Fingerprints take 16 bytes an id whatever it is, and lose the locality of the
//! source; front coding decodes eight entries for a lookup.
//!
//! A membership filter stands in front of strings that are kept as they are, since finding the one block that can hold such a string is a
//! search over all of them: ids that are new, which most are where a source is filtered by what was done, cost one cache line. Where most
//! are not new, or most are near each other, the filter is not asked. Numbers have none: it would make a file of random numbers a quarter
//! larger, for a third off the price of those that are new.
//!
//! # The bytes, version 3
//!
//! All numbers are unsigned and little endian; nothing is aligned or padded. Byte strings are compared as plain bytes, a prefix before
//! what it begins. A checksum is XXH3 with 64 bits and seed 0. `w` is 8 bytes in sections of numbers, 16 in those of wide numbers.
//!
//! ```text
//! file      header | section | section .. | directory | footer
//! section   blocks, without gaps | index
//!
//! header     0  8  magic "WPIPEIDS"
//!            8  4  version = 3
//!           12  4  zero
//!
//! Index of numbers: one record per block, in order.
//!
//! record     0  w  first number of the block
//!            w  w  last one
//!           2w  8  bits 0..47: where the block starts in the file; 48..57: its numbers, less one (0 for kind 0); 58..63: its kind
//!         2w+8  8  checksum of the block; 0 for kind 0
//!
//! kind 0           all numbers from first to last; no bytes
//! kind 1           a bitmap: number n is bit (n - first) % 8 of byte (n - first) / 8, up to the last
//! kind 2     0 2b  b buckets: for each, how many numbers are in those before it
//!           2b ..  the low bits of each number, less first, in as few whole bytes as hold them
//!
//! buckets          with s = last - first, which has k bits, and c numbers: l = k - (bits of (c - 1), less one), or 0; number n is in
//!                  bucket (n - first) >> l, its low bits are l; b = (s >> l) + 1
//!
//! Blocks of strings, at most 4 KiB; an id longer than that has a block of its own.
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
//! Index of strings: separators, then records.
//!
//! separators one byte string per block, without gaps: s with (last id of the block before) < s <= (first id of this
//!            block), as short as possible; empty for block 0
//!
//! record     0  8  where the block starts in the file
//!            8  4  bytes of the block
//!           12  4  bytes of its separator
//!           16  8  where the separator starts, counted from the first separator's first byte
//!           24  8  checksum of the block
//!
//! Filter of strings: cells of 8 words of 4 bytes, each word with one bit for each of its strings (a split block Bloom filter; Putze,
//! Sanders and Singler 2007; the salts are those of Parquet). With h = XXH3 of the string and c cells, 12 bits a string and rounded
//! up: its cell is ((h >> 32) * c) >> 32, its bit in word i is (h * salt[i] mod 2^32) >> 27. The blocks are pages of
//! 4 KiB, the last one may be shorter; the index is their checksums of 8 bytes each. There is none if c would be more than 2^32, or if a build
//! would read the hashes more than 64 times, since its memory holds so small a part of the filter.
//!
//! salt       47b6137b 44974d91 8824ad5b a2b7289d 705495c7 2df1424b 9efc4947 5c6bfb31
//!
//! Directory: one entry per section, in order. Strings come first, then their filter, numbers, wide numbers, templates.
//!
//! entry      0  4  kind: 0 strings, 1 numbers, 2 wide numbers, 3 filter
//!            4  4  bytes of the template, t
//!            8  8  ids; 0 for a filter
//!           16  8  blocks
//!           24  8  blocks of all sections before
//!           32  8  where the first block starts in the file
//!           40  8  where the index starts
//!           48  8  bytes of the index
//!           56  8  checksum of the index
//!           64  8  of strings: 1 if some may have templates, since the set had more of these than a file keeps; else 0
//!           72  t  template: the kind of each place (0 this byte, 1 decimal digit, 2 hexadecimal digit), then each byte, 0 for
//!                  digits; none if the numbers themselves are the ids
//!
//! footer     0  8  ids in the file                            (the file's last 48 bytes)
//!            8  8  where the directory starts
//!           16  8  checksum of the directory
//!           24  8  sections
//!           32  8  checksum of the header's 16 bytes followed by the footer's first 32
//!           40  8  magic "WPIPEIDS"
//! ```
//!
//! # What is checked when
//!
//! Opening checks footer, header, directory and all indexes; each block's checksum is checked when it is first
//! touched; [`Ids::verify`] checks all blocks, order and counts included. Checksums find accidents. A file that someone forged,
//! checksums and all, can answer wrongly, but never makes the reader panic or read outside its bytes.

mod build;
mod classify;
mod column;
mod error;
mod file;
mod format;
mod number;
mod numbers;
mod output;
mod scratch;
mod seen;
mod strings;
mod template;

pub use build::{Builder, Summary};
pub use column::{Column, Strings};
pub use error::{BuildError, Damage, Part};
pub use file::{Id, Ids};
pub use format::ID_BYTES_MAX;
