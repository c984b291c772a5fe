//! The ends of the file and its index, checked before anything relies on them. Does not look into blocks.

use crate::error::{Damage, Part};
use crate::format::{
    FOOTER_BYTES, FOOTER_SEALED_BYTES, Footer, HEADER_BYTES, MAGIC, RECORD_BYTES, Record, VERSION, checksum, seal,
    u32_at, u64_at,
};

/// Everything but the blocks is what was written.
pub(crate) fn open(bytes: &[u8]) -> Result<Footer, Damage> {
    let footer = check_ends(bytes)?;
    check_index(bytes, &footer)?;
    Ok(footer)
}

/// Header and footer: what can be said without reading anything else.
fn check_ends(bytes: &[u8]) -> Result<Footer, Damage> {
    let header = bytes.get(..HEADER_BYTES).unwrap_or(bytes);
    if !header.starts_with(&MAGIC) {
        return damaged(Part::Header, 0, "this is not an id file");
    }
    if u32_at(header, MAGIC.len()) != Some(VERSION) {
        return damaged(Part::Header, MAGIC.len() as u64, "its format version is not 1, the one that is known here");
    }
    let footer_at = bytes.len().saturating_sub(FOOTER_BYTES).max(HEADER_BYTES);
    let footer_bytes = bytes.get(footer_at..).unwrap_or_default();
    if footer_bytes.get(48..) != Some(MAGIC.as_slice()) {
        return damaged(Part::Footer, footer_at as u64, "the file does not end with one; it was cut short or added to");
    }
    if footer_bytes.get(..FOOTER_SEALED_BYTES).map(|sealed| seal(header, sealed))
        != u64_at(footer_bytes, FOOTER_SEALED_BYTES)
    {
        return damaged(Part::Footer, footer_at as u64, "its checksum does not match");
    }
    match Footer::read(footer_bytes) {
        Some(footer) if is_whole(&footer, footer_at as u64) => Ok(footer),
        _ => damaged(Part::Footer, footer_at as u64, "the parts that it describes are not those of this file"),
    }
}

/// The parts lie one behind the other, up to the footer.
fn is_whole(footer: &Footer, footer_at: u64) -> bool {
    let records_end =
        footer.blocks.checked_mul(RECORD_BYTES as u64).and_then(|bytes| footer.records_at.checked_add(bytes));
    HEADER_BYTES as u64 <= footer.separators_at
        && footer.separators_at <= footer.records_at
        && records_end == Some(footer_at)
        && (footer.ids == 0) == (footer.blocks == 0)
}

fn check_index(bytes: &[u8], footer: &Footer) -> Result<(), Damage> {
    let index_bytes = footer_at(footer) - footer.separators_at;
    let index = slice(bytes, footer.separators_at, index_bytes);
    if index.map(checksum) != Some(footer.index_checksum) {
        return damaged(Part::Index, footer.separators_at, "its checksum does not match");
    }
    let (mut block_at, mut separator_at, mut before) = (HEADER_BYTES as u64, 0, None);
    for number in 0..footer.blocks {
        let record = record(bytes, footer, number)?;
        let separator = separator(bytes, footer, &record)?;
        let ascends = before.map_or(separator.is_empty(), |before| before < separator);
        if record.block_at != block_at || record.separator_at != separator_at || !ascends {
            return damaged(Part::Index, record_at(footer, number), "a record does not follow the one before");
        }
        block_at = block_at.saturating_add(u64::from(record.block_bytes));
        separator_at = separator_at.saturating_add(u64::from(record.separator_bytes));
        before = Some(separator);
    }
    if block_at != footer.separators_at || separator_at != footer.records_at - footer.separators_at {
        return damaged(Part::Index, footer.records_at, "its records do not describe the whole file");
    }
    Ok(())
}

/// Records end where the footer starts; `is_whole` saw that this does not overflow.
pub(crate) fn footer_at(footer: &Footer) -> u64 {
    record_at(footer, footer.blocks)
}

fn record_at(footer: &Footer, number: u64) -> u64 {
    footer.records_at + number * RECORD_BYTES as u64
}

pub(crate) fn record(bytes: &[u8], footer: &Footer, number: u64) -> Result<Record, Damage> {
    let at = record_at(footer, number);
    let record = slice(bytes, at, RECORD_BYTES as u64).and_then(Record::read);
    record.map_or_else(|| damaged(Part::Index, at, "a record ends behind the file"), Ok)
}

pub(crate) fn separator<'a>(bytes: &'a [u8], footer: &Footer, record: &Record) -> Result<&'a [u8], Damage> {
    let separators = slice(bytes, footer.separators_at, footer.records_at - footer.separators_at);
    let separator = separators.and_then(|all| slice(all, record.separator_at, u64::from(record.separator_bytes)));
    separator.map_or_else(|| damaged(Part::Index, footer.separators_at, "a separator ends behind the separators"), Ok)
}

pub(crate) fn slice(bytes: &[u8], at: u64, length: u64) -> Option<&[u8]> {
    let from = usize::try_from(at).ok()?;
    let until = usize::try_from(at.checked_add(length)?).ok()?;
    bytes.get(from..until)
}

fn damaged<T>(part: Part, at: u64, what: &'static str) -> Result<T, Damage> {
    Err(Damage { part, at, what })
}
