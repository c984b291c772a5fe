//! Numbers, checksums and fixed-size parts of the format that the crate's documentation draws. Decides nothing.

/// The longest id in bytes: 64 MiB.
pub const ID_BYTES_MAX: usize = 64 << 20;

pub(crate) const MAGIC: [u8; 8] = *b"WPIPEIDS";
pub(crate) const VERSION: u32 = 1;
pub(crate) const HEADER_BYTES: usize = 16;
pub(crate) const RECORD_BYTES: usize = 32;
pub(crate) const FOOTER_BYTES: usize = 56;
/// Footer bytes that its checksum covers.
pub(crate) const FOOTER_SEALED_BYTES: usize = 40;
/// A block is closed before it grows past this, unless one id alone does.
pub(crate) const BLOCK_BYTES: usize = 4096;
pub(crate) const RESTART_IDS: usize = 16;

/// BLAKE3, cut to 64 bits.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    cut(&blake3::hash(bytes))
}

pub(crate) fn cut(hash: &blake3::Hash) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

pub(crate) fn header() -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes
}

/// Where a block and its separator are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    pub(crate) block_at: u64,
    pub(crate) block_bytes: u32,
    pub(crate) separator_bytes: u32,
    pub(crate) separator_at: u64,
    pub(crate) checksum: u64,
}

impl Record {
    pub(crate) fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[..8].copy_from_slice(&self.block_at.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.block_bytes.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.separator_bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.separator_at.to_le_bytes());
        bytes[24..].copy_from_slice(&self.checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Record> {
        Some(Record {
            block_at: u64_at(bytes, 0)?,
            block_bytes: u32_at(bytes, 8)?,
            separator_bytes: u32_at(bytes, 12)?,
            separator_at: u64_at(bytes, 16)?,
            checksum: u64_at(bytes, 24)?,
        })
    }
}

/// What the file's last bytes say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Footer {
    pub(crate) ids: u64,
    pub(crate) blocks: u64,
    pub(crate) separators_at: u64,
    pub(crate) records_at: u64,
    pub(crate) index_checksum: u64,
}

impl Footer {
    pub(crate) fn to_bytes(self) -> [u8; FOOTER_BYTES] {
        let numbers = [self.ids, self.blocks, self.separators_at, self.records_at, self.index_checksum];
        let mut bytes = [0; FOOTER_BYTES];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let seal = seal(&header(), &bytes[..FOOTER_SEALED_BYTES]);
        bytes[40..48].copy_from_slice(&seal.to_le_bytes());
        bytes[48..].copy_from_slice(&MAGIC);
        bytes
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Footer> {
        Some(Footer {
            ids: u64_at(bytes, 0)?,
            blocks: u64_at(bytes, 8)?,
            separators_at: u64_at(bytes, 16)?,
            records_at: u64_at(bytes, 24)?,
            index_checksum: u64_at(bytes, 32)?,
        })
    }
}

/// The footer's checksum: over the header and the footer before it.
pub(crate) fn seal(header: &[u8], sealed: &[u8]) -> u64 {
    cut(&blake3::Hasher::new().update(header).update(sealed).finalize())
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

pub(crate) fn write_varint(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The number at `at`, and where the next thing starts.
pub(crate) fn varint_at(bytes: &[u8], at: usize) -> Option<(u32, usize)> {
    let mut number = 0u64;
    for (i, byte) in bytes.get(at..)?.iter().take(5).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((u32::try_from(number).ok()?, at + i + 1));
        }
    }
    None
}

/// How many first bytes `a` and `b` have in common.
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back() {
        for number in [0, 1, 127, 128, 16_383, 16_384, 1 << 21, 1 << 28, u32::MAX] {
            let mut bytes = vec![0xaa];
            write_varint(&mut bytes, number);
            assert_eq!(varint_at(&bytes, 1), Some((number, bytes.len())));
            assert_eq!(varint_at(&bytes[..bytes.len() - 1], 1), None, "{number} cut short");
        }
    }

    #[test]
    fn varints_that_are_too_large_are_refused() {
        assert_eq!(varint_at(&[0xff, 0xff, 0xff, 0xff, 0x1f], 0), None);
        assert_eq!(varint_at(&[0x80; 9], 0), None);
        assert_eq!(varint_at(&[], usize::MAX), None);
    }
}
