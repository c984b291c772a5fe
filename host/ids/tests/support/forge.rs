//! Id files with right checksums, whatever their bytes say: written from the crate's documentation alone. Fuzzing uses it, too.

use twox_hash::XxHash3_64;

/// Of the format.
pub(crate) const VERSION: u32 = 3;

/// Where things are, read as the documentation says; nothing where it cannot be.
pub(crate) struct Directory {
    pub(crate) at: usize,
    pub(crate) sections: Vec<Section>,
}

pub(crate) struct Section {
    pub(crate) at: usize,
    pub(crate) is_wide: bool,
    pub(crate) is_strings: bool,
    pub(crate) is_filter: bool,
    pub(crate) blocks: usize,
    pub(crate) index_at: usize,
    pub(crate) index_bytes: usize,
}

impl Directory {
    pub(crate) fn of(bytes: &[u8]) -> Directory {
        let footer = bytes.len() - 48;
        let start = (u64_at(bytes, footer + 8) as usize).min(footer);
        let mut sections = Vec::new();
        let mut at = start;
        while at + 72 <= footer && sections.len() < 1000 {
            let (index_at, index_bytes) = (u64_at(bytes, at + 40) as usize, u64_at(bytes, at + 48) as usize);
            sections.push(Section {
                at,
                is_wide: bytes[at] == 2,
                is_strings: bytes[at] == 0,
                is_filter: bytes[at] == 3,
                blocks: (u64_at(bytes, at + 16) as usize).min(1000),
                index_at: index_at.min(start),
                index_bytes: index_bytes.min(start - index_at.min(start)),
            });
            at += 72 + u32_at(bytes, at + 4) as usize % 1000;
        }
        Directory { at: start, sections }
    }
}

/// Makes all checksums right again, where the file says that they are: written from the documentation alone.
pub(crate) fn seal(bytes: &mut [u8]) {
    let footer = bytes.len() - 48;
    let Directory { at, sections } = Directory::of(bytes);
    for section in &sections {
        seal_blocks(bytes, section);
        let sum = checksum(&bytes[section.index_at..section.index_at + section.index_bytes]);
        if section.at + 64 <= footer {
            bytes[section.at + 56..section.at + 64].copy_from_slice(&sum);
        }
    }
    let sum = checksum(&bytes[at..footer]);
    bytes[footer + 16..footer + 24].copy_from_slice(&sum);
    let sum = checksum(&[&bytes[..16], &bytes[footer..footer + 32]].concat());
    bytes[footer + 32..footer + 40].copy_from_slice(&sum);
}

fn seal_blocks(bytes: &mut [u8], section: &Section) {
    if section.is_filter {
        return seal_pages(bytes, section);
    }
    let (record_bytes, sum_at) = if section.is_wide { (48, 40) } else { (32, 24) };
    let records_bytes = (section.blocks * record_bytes).min(section.index_bytes);
    let end = section.index_at + section.index_bytes;
    for record in (end - records_bytes..end).step_by(record_bytes).filter(|record| record + record_bytes <= end) {
        let (at, length) = match (section.is_strings, section.is_wide) {
            (true, _) => (u64_at(bytes, record) as usize, Some(u32_at(bytes, record + 8) as usize)),
            (false, false) => {
                let span = u64_at(bytes, record + 8).wrapping_sub(u64_at(bytes, record));
                place(u64_at(bytes, record + 16), span.into())
            }
            (false, true) => {
                let span = u128_at(bytes, record + 16).wrapping_sub(u128_at(bytes, record));
                place(u64_at(bytes, record + 32), span)
            }
        };
        let block = length.and_then(|length| bytes.get(at..at.checked_add(length)?));
        if let Some(sum) = block.map(checksum) {
            bytes[record + sum_at..record + sum_at + 8].copy_from_slice(&sum);
        }
    }
}

fn seal_pages(bytes: &mut [u8], section: &Section) {
    let blocks_at = (u64_at(bytes, section.at + 32) as usize).min(section.index_at);
    for page in 0..section.blocks.min(section.index_bytes / 8) {
        let at = (blocks_at + page * 4096).min(section.index_at);
        let sum = checksum(&bytes[at..section.index_at.min(at + 4096)]);
        bytes[section.index_at + 8 * page..][..8].copy_from_slice(&sum);
    }
}

/// Where a block of numbers is, and how long it is.
fn place(place: u64, span: u128) -> (usize, Option<usize>) {
    let (at, count) = ((place & 0xffff_ffff_ffff) as usize, (place >> 48 & 1023) as usize + 1);
    let length = match place >> 58 {
        1 if span < 1 << 20 => Some(span as usize / 8 + 1),
        2 => {
            let bucket_bits = (usize::BITS - (count - 1).leading_zeros()).saturating_sub(1);
            let low_bits = (u128::BITS - span.leading_zeros()).saturating_sub(bucket_bits);
            Some(2 * (span.checked_shr(low_bits).unwrap_or(0) as usize + 1) + count * low_bits.div_ceil(8) as usize)
        }
        _ => None,
    };
    (at, length)
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    XxHash3_64::oneshot(bytes).to_le_bytes()
}

fn u128_at(bytes: &[u8], at: usize) -> u128 {
    u128::from_le_bytes(bytes[at..at + 16].try_into().expect("16 bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}
