//! As much of Thrift's compact protocol as tells what the Parquet crate does not: which columns a footer says to be
//! encrypted, how deep its schema is, and what a page is before it is unpacked. Everything else is passed over.

/// A struct nested deeper is no footer and no page header.
const DEPTH_MAX: usize = 16;

/// Reads values off the front of bytes; none where they end early or are of no known type.
pub(super) struct Compact<'a> {
    bytes: &'a [u8],
}

/// Thrift's types, as the protocol numbers them.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

impl<'a> Compact<'a> {
    pub fn new(bytes: &'a [u8]) -> Compact<'a> {
        Compact { bytes }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// A signed number.
    fn number(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn skip_bytes(&mut self, count: u64) -> Option<()> {
        self.bytes = self.bytes.get(usize::try_from(count).ok()?..)?;
        Some(())
    }

    /// Calls `on_field` with the number and type of each field of a struct; it answers whether it read the value.
    fn fields(
        &mut self,
        depth: usize,
        mut on_field: impl FnMut(&mut Compact<'a>, i64, u8) -> Option<bool>,
    ) -> Option<()> {
        let mut id = 0;
        loop {
            let header = self.byte()?;
            if header == 0 {
                return Some(());
            }
            id = if header >> 4 == 0 { self.number()? } else { id.checked_add(i64::from(header >> 4))? };
            if !on_field(self, id, header & 0x0f)? {
                self.skip(header & 0x0f, depth)?;
            }
        }
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        match kind {
            TRUE | FALSE => Some(()),
            BYTE => self.skip_bytes(1),
            I16 | I32 | I64 => self.varint().map(drop),
            DOUBLE => self.skip_bytes(8),
            BINARY => {
                let length = self.varint()?;
                self.skip_bytes(length)
            }
            LIST | SET if depth < DEPTH_MAX => self.skip_list(depth + 1),
            MAP if depth < DEPTH_MAX => self.skip_map(depth + 1),
            STRUCT if depth < DEPTH_MAX => self.fields(depth + 1, |_, _, _| Some(false)),
            _ => None,
        }
    }

    /// Calls `each` for every struct of the list that is the field `wanted`, with its place.
    fn structs_of(
        &mut self,
        depth: usize,
        wanted: i64,
        mut each: impl FnMut(&mut Compact<'a>, usize) -> Option<()>,
    ) -> Option<()> {
        self.fields(depth, |compact, id, kind| {
            if (id, kind) != (wanted, LIST) {
                return Some(false);
            }
            let (kind, count) = compact.list()?;
            let count = usize::try_from(count).ok().filter(|_| kind == STRUCT || count == 0)?;
            (0..count).try_for_each(|place| each(compact, place)).map(|()| true)
        })
    }

    /// The 32 bits that are the field `wanted` of the struct that comes next, if it has it.
    fn number_of(&mut self, wanted: i64) -> Option<Option<i64>> {
        let mut found = None;
        self.fields(1, |compact, id, kind| {
            if (id, kind) != (wanted, I32) {
                return Some(false);
            }
            found = Some(compact.number()?);
            Some(true)
        })?;
        Some(found)
    }

    /// The type and number of what is in a list.
    fn list(&mut self) -> Option<(u8, u64)> {
        let header = self.byte()?;
        let count = if header >> 4 == 15 { self.varint()? } else { u64::from(header >> 4) };
        Some((header & 0x0f, count))
    }

    fn skip_list(&mut self, depth: usize) -> Option<()> {
        let (kind, count) = self.list()?;
        self.skip_many(kind, count, depth)
    }

    fn skip_map(&mut self, depth: usize) -> Option<()> {
        let count = self.varint()?;
        if count == 0 {
            return Some(());
        }
        let kinds = self.byte()?;
        for _ in 0..count {
            self.skip_many(kinds >> 4, 1, depth)?;
            self.skip_many(kinds & 0x0f, 1, depth)?;
        }
        Some(())
    }

    /// Within lists and maps a boolean is a byte.
    fn skip_many(&mut self, kind: u8, count: u64, depth: usize) -> Option<()> {
        if matches!(kind, TRUE | FALSE | BYTE) {
            return self.skip_bytes(count);
        }
        (0..count).try_for_each(|_| self.skip(kind, depth))
    }
}

/// Columns, by their place among the leaves, that a footer says to be encrypted in some row group though it is not itself.
pub(super) fn encrypted_columns(footer: &[u8]) -> Vec<usize> {
    const ROW_GROUPS: i64 = 4;
    const COLUMNS: i64 = 1;
    const ENCRYPTION: i64 = 8;
    let mut found = Vec::new();
    let walked = Compact::new(footer).structs_of(0, ROW_GROUPS, |group, _| {
        group.structs_of(1, COLUMNS, |column, place| {
            column.fields(2, |_, id, _| {
                found.extend((id == ENCRYPTION && !found.contains(&place)).then_some(place));
                Some(false)
            })
        })
    });
    if walked.is_some() { found } else { Vec::new() }
}

/// What stands before a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// Which kind of page.
    pub kind: i64,
    /// Bytes of the page when it is unpacked, and as it is in the file.
    pub unpacked: i64,
    pub packed: i64,
    /// Values with nulls; rows, if it says so.
    pub values: i64,
    pub rows: Option<i64>,
    /// Bytes of the header itself.
    pub length: usize,
}

impl PageHeader {
    /// Kinds: values in two versions, a dictionary.
    pub const DATA: i64 = 0;
    pub const DICTIONARY: i64 = 2;
    pub const DATA_V2: i64 = 3;

    /// Reads one; none if the bytes begin with another thing, or end too early.
    pub fn read(bytes: &[u8]) -> Option<PageHeader> {
        let (mut header, mut compact) = (PageHeader::default(), Compact::new(bytes));
        compact.fields(0, |compact, id, kind| {
            match (id, kind) {
                (1, I32) => header.kind = compact.number()?,
                (2, I32) => header.unpacked = compact.number()?,
                (3, I32) => header.packed = compact.number()?,
                // Of data, a dictionary, data of the second version.
                (5 | 7 | 8, STRUCT) => compact.fields(1, |compact, inner, kind| {
                    match (inner, kind) {
                        (1, I32) => header.values = compact.number()?,
                        (3, I32) if id == 8 => header.rows = Some(compact.number()?),
                        _ => return Some(false),
                    }
                    Some(true)
                })?,
                _ => return Some(false),
            }
            Some(true)
        })?;
        header.length = bytes.len() - compact.bytes.len();
        let is_known = [PageHeader::DATA, PageHeader::DICTIONARY, PageHeader::DATA_V2].contains(&header.kind);
        (is_known && header.unpacked >= 0 && header.packed >= 0).then_some(header)
    }
}

/// Whether bytes are a struct of Thrift's. The Parquet crate, where it passes over what it does not know, takes a list of
/// what has no bytes for as long as it says to be.
pub(super) fn is_struct(bytes: &[u8]) -> bool {
    Compact::new(bytes).fields(0, |_, _, _| Some(false)).is_some()
}

/// How many groups are within each other in the schema of a footer. Whoever builds that schema calls itself for each.
pub(super) fn schema_depth(footer: &[u8]) -> usize {
    const SCHEMA: i64 = 2;
    const CHILDREN: i64 = 5;
    // Children that are to come, of each group that is open.
    let mut open: Vec<i64> = Vec::new();
    let mut deepest = 0;
    let walked = Compact::new(footer).structs_of(0, SCHEMA, |element, _| {
        let children = element.number_of(CHILDREN)?.unwrap_or(0);
        deepest = deepest.max(open.len());
        open.iter_mut().last().into_iter().for_each(|left| *left -= 1);
        open.extend((children > 0).then_some(children));
        while open.last().is_some_and(|left| *left <= 0) {
            open.pop();
        }
        Some(())
    });
    walked.map_or(0, |()| deepest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn footers_tell_how_deep_their_schema_is() {
        // schema = [{num_children = children}, ...].
        let footer = |children: &[u8]| {
            let mut bytes = vec![0x29, 0xfc, children.len() as u8];
            children.iter().for_each(|children| bytes.extend([0x55, 2 * children, 0]));
            bytes.push(0);
            bytes
        };
        for (children, depth) in
            [(&[0][..], 0), (&[2, 0, 0], 1), (&[2, 1, 0, 0], 2), (&[2, 0, 1, 1, 0], 3), (&[1; 90], 89), (&[3], 0)]
        {
            assert_eq!(schema_depth(&footer(children)), depth, "{children:?}");
        }
    }

    #[test]
    fn footers_tell_encryption_and_garbage_ends() {
        // version = 1, a map, row_groups = [{columns = [{file_offset = 0}, {file_offset = 0, crypto_metadata = {}}]}].
        let footer =
            [0x15, 2, 0x1b, 1, 0x58, 4, 1, b'x', 0x29, 0x1c, 0x19, 0x2c, 0x26, 0, 0, 0x26, 0, 0x6c, 0, 0, 0, 0];
        assert_eq!(encrypted_columns(&footer), [1]);
        assert!(encrypted_columns(&footer[..20]).is_empty());
        for nested in [0x1c, 0x19, 0x1b, 0x1a] {
            assert!(encrypted_columns(&vec![nested; 1 << 20]).is_empty(), "{nested:x} in itself");
        }
        assert!(encrypted_columns(&[0x49, 0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).is_empty());
    }
}
