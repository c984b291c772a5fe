//! What is added and asked: a column of ids, as its owner has it in memory.

/// Rows are counted with 32 bits.
pub(crate) const ROWS_MAX: usize = u32::MAX as usize;

/// Ids of one batch, at most 2^32 - 1. All columns of one set are of one variant, and numbers have the same meaning in all of them.
#[derive(Debug, Clone, Copy)]
pub enum Column<'a> {
    /// Numbers. What they stand for is the caller's business; signed ones keep their order if their sign bit is flipped.
    Numbers(&'a [u64]),
    /// Numbers of up to 16 bytes.
    WideNumbers(&'a [u128]),
    /// Byte strings that are text, mostly.
    Strings(Strings<'a>),
    /// Byte strings whose digits mean nothing.
    Binary(Strings<'a>),
}

/// Byte strings, one behind the other.
#[derive(Debug, Clone, Copy)]
pub struct Strings<'a> {
    offsets: Offsets<'a>,
    bytes: &'a [u8],
}

#[derive(Debug, Clone, Copy)]
enum Offsets<'a> {
    Narrow(&'a [i32]),
    Wide(&'a [i64]),
}

impl<'a> Column<'a> {
    /// Byte strings as Arrow has them: string `i` is `bytes[offsets[i]..offsets[i + 1]]`.
    ///
    /// # Panics
    ///
    /// When the string is used, if an offset is smaller than the one before it, or lies behind the bytes.
    pub fn strings(offsets: &'a [i32], bytes: &'a [u8]) -> Column<'a> {
        Column::Strings(Strings { offsets: Offsets::Narrow(offsets), bytes })
    }

    /// As [`strings`](Column::strings), with wide offsets.
    pub fn large_strings(offsets: &'a [i64], bytes: &'a [u8]) -> Column<'a> {
        Column::Strings(Strings { offsets: Offsets::Wide(offsets), bytes })
    }

    /// Strings that are kept as they are, digits or not.
    pub fn into_binary(self) -> Column<'a> {
        if let Column::Strings(strings) = self { Column::Binary(strings) } else { self }
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        match self {
            Column::Numbers(numbers) => numbers.len(),
            Column::WideNumbers(numbers) => numbers.len(),
            Column::Strings(strings) | Column::Binary(strings) => strings.len(),
        }
    }

    /// Whether there are no ids.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> Strings<'a> {
    pub(crate) fn len(&self) -> usize {
        match self.offsets {
            Offsets::Narrow(offsets) => offsets.len().saturating_sub(1),
            Offsets::Wide(offsets) => offsets.len().saturating_sub(1),
        }
    }

    #[inline]
    pub(crate) fn get(&self, row: usize) -> &'a [u8] {
        match self.offsets {
            Offsets::Narrow(offsets) => &self.bytes[offsets[row] as usize..offsets[row + 1] as usize],
            Offsets::Wide(offsets) => &self.bytes[offsets[row] as usize..offsets[row + 1] as usize],
        }
    }
}
