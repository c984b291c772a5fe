//! Numbers, checksums and fixed-size parts of the format that the crate's documentation draws. Decides nothing.

use twox_hash::XxHash3_64;

use crate::error::{Damage, Part};

/// The longest id in bytes: 64 MiB.
pub const ID_BYTES_MAX: usize = 64 << 20;

pub(crate) const MAGIC: [u8; 8] = *b"WPIPEIDS";
pub(crate) const VERSION: u32 = 3;
pub(crate) const HEADER_BYTES: usize = 16;
pub(crate) const FOOTER_BYTES: usize = 48;
/// Footer bytes that its checksum covers.
pub(crate) const FOOTER_SEALED_BYTES: usize = 32;
const SECTION_BYTES: usize = 72;

/// XXH3, 64 bits, seed 0.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

pub(crate) fn header() -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes
}

/// What the ids of a section are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SectionKind {
    /// Byte strings as they are.
    Strings,
    /// Numbers of 8 bytes, or strings that a template makes such numbers.
    Numbers,
    /// As `Numbers`, of 16 bytes.
    WideNumbers,
    /// What strings are certainly not in the section of strings.
    Filter,
}

/// An entry of the directory.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    pub(crate) kind: SectionKind,
    pub(crate) ids: u64,
    pub(crate) blocks: u64,
    /// Blocks of sections before it: for messages.
    pub(crate) first_block: u64,
    pub(crate) blocks_at: u64,
    /// Right behind the last block.
    pub(crate) index_at: u64,
    pub(crate) index_bytes: u64,
    pub(crate) index_checksum: u64,
    /// Of strings: there may be some with templates among them.
    pub(crate) strings_have_templates: bool,
    /// The key of the template; empty for strings, and for numbers that are ids themselves.
    pub(crate) template: Vec<u8>,
}

impl Section {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let kind = match self.kind {
            SectionKind::Strings => 0u32,
            SectionKind::Numbers => 1,
            SectionKind::WideNumbers => 2,
            SectionKind::Filter => 3,
        };
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&(self.template.len() as u32).to_le_bytes());
        let numbers = [self.ids, self.blocks, self.first_block, self.blocks_at, self.index_at, self.index_bytes];
        numbers
            .iter()
            .chain([&self.index_checksum, &u64::from(self.strings_have_templates)])
            .for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        out.extend_from_slice(&self.template);
    }

    /// Its index, if that is what was written.
    pub(crate) fn index<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], Damage> {
        let index = slice(bytes, self.index_at, self.index_bytes);
        let index = index.filter(|index| checksum(index) == self.index_checksum);
        index.ok_or_else(|| self.damage("its checksum does not match"))
    }

    /// Damage of its index.
    pub(crate) fn damage(&self, what: &'static str) -> Damage {
        Damage { part: Part::Index, at: self.index_at, what }
    }

    /// The section at the start of `bytes`, and what follows it.
    pub(crate) fn read(bytes: &[u8]) -> Option<(Section, &[u8])> {
        let kind = match u32_at(bytes, 0)? {
            0 => SectionKind::Strings,
            1 => SectionKind::Numbers,
            2 => SectionKind::WideNumbers,
            3 => SectionKind::Filter,
            _ => return None,
        };
        let template_until = SECTION_BYTES.checked_add(u32_at(bytes, 4)? as usize)?;
        let template = bytes.get(SECTION_BYTES..template_until)?.to_vec();
        let number = |place: usize| u64_at(bytes, 8 * (place + 1));
        let section = Section {
            kind,
            ids: number(0)?,
            blocks: number(1)?,
            first_block: number(2)?,
            blocks_at: number(3)?,
            index_at: number(4)?,
            index_bytes: number(5)?,
            index_checksum: number(6)?,
            strings_have_templates: number(7)? != 0,
            template,
        };
        Some((section, &bytes[template_until..]))
    }
}

/// What the file's last bytes say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Footer {
    pub(crate) ids: u64,
    pub(crate) directory_at: u64,
    pub(crate) directory_checksum: u64,
    pub(crate) sections: u64,
}

impl Footer {
    pub(crate) fn to_bytes(self) -> [u8; FOOTER_BYTES] {
        let numbers = [self.ids, self.directory_at, self.directory_checksum, self.sections];
        let mut bytes = [0; FOOTER_BYTES];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let seal = seal(&header(), &bytes[..FOOTER_SEALED_BYTES]);
        bytes[32..40].copy_from_slice(&seal.to_le_bytes());
        bytes[40..].copy_from_slice(&MAGIC);
        bytes
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Footer> {
        Some(Footer {
            ids: u64_at(bytes, 0)?,
            directory_at: u64_at(bytes, 8)?,
            directory_checksum: u64_at(bytes, 16)?,
            sections: u64_at(bytes, 24)?,
        })
    }
}

/// The footer's checksum: over the header and the footer before it.
pub(crate) fn seal(header: &[u8], sealed: &[u8]) -> u64 {
    checksum(&[header, sealed].concat())
}

pub(crate) fn slice(bytes: &[u8], at: u64, length: u64) -> Option<&[u8]> {
    let from = usize::try_from(at).ok()?;
    let until = usize::try_from(at.checked_add(length)?).ok()?;
    bytes.get(from..until)
}

/// Asks for the cache line at `at`, if there is one.
#[inline]
pub(crate) fn prefetch(bytes: &[u8], at: u64) {
    #[cfg(target_arch = "x86_64")]
    if let Some(byte) = bytes.get(at as usize) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the address is that of a byte that may be read; a prefetch changes nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(byte).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (bytes, at);
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}
