//! The first lines of objects, to find the schema of all of them.

use bytes::Bytes;

use super::infer::Inference;
use super::lines::{Content, Lines};
use super::refusal::Refusal;
use super::text::{damaged, inflated};
use crate::format::compression::Compression;
use crate::format::compression::inflate::Inflate;
use crate::format::{FormatError, sniff};

/// Bytes of an object that are looked at, as they are stored.
pub const HEAD_BYTES: u64 = 256 << 10;
/// Bytes of its text that are.
const TEXT_BYTES_MAX: usize = 4 << 20;

/// The first bytes of an object.
pub struct Head {
    /// Up to [`HEAD_BYTES`].
    pub bytes: Bytes,
    /// Whether the object has no more.
    pub is_all: bool,
    /// How they are compressed.
    pub compression: Compression,
}

/// Takes the lines of an object's head into account; the last one only if it has an end, or is the object's last. Lines that
/// are no rows say nothing; the first of them is answered, with its number from 1.
pub fn add(found: &mut Inference, head: Head) -> Result<Option<(u64, Refusal)>, FormatError> {
    let Head { mut bytes, is_all, compression } = head;
    sniff::refuse_other_than_text(&bytes, compression)?;
    let mut refused = None;
    let (mut inflate, mut lines) = (Inflate::new(compression), Lines::new(TEXT_BYTES_MAX));
    let mut text_bytes = 0;
    while !bytes.is_empty() && text_bytes < TEXT_BYTES_MAX {
        let text = inflated(&mut inflate, &mut bytes).map_err(damaged)?;
        text_bytes += text.len();
        if text.is_empty() {
            continue;
        }
        lines.feed(text);
        add_lines(found, &mut lines, &mut refused);
    }
    if is_all && bytes.is_empty() {
        inflate.end().map_err(damaged)?;
        lines.finish();
        add_lines(found, &mut lines, &mut refused);
    }
    Ok(refused)
}

fn add_lines(found: &mut Inference, lines: &mut Lines, refused: &mut Option<(u64, Refusal)>) {
    while let Some(line) = lines.next() {
        let Content::Text(text) = line.content else { continue };
        if let Err(refusal) = found.line(text) {
            refused.get_or_insert((line.at.line + 1, refusal));
        }
    }
}
