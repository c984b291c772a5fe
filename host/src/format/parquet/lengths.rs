//! What a page says, before its values are decoded, of how many rows it has and how long its texts are. Encodings are those
//! of <https://parquet.apache.org/docs/file-format/data-pages/encodings/>.

use parquet::basic::Encoding;
use parquet::column::page::Page;
use parquet::schema::types::ColumnDescriptor;

/// What a page of lists says by its levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lists {
    /// Rows that begin in it, which they do where nothing is repeated.
    pub rows: u64,
    /// Values of the row that has most, as far as it is in the page.
    pub longest: u64,
}

/// None of other pages, and if the levels are not what they should be.
pub(super) fn lists(page: &Page, column: &ColumnDescriptor) -> Option<Lists> {
    let levels = match page {
        _ if column.max_rep_level() == 0 => return None,
        Page::DataPageV2 { buf, rep_levels_byte_len, .. } => buf.get(..*rep_levels_byte_len as usize)?,
        Page::DataPage { buf, rep_level_encoding: Encoding::RLE, .. } => {
            let (length, rest) = buf.split_first_chunk::<4>()?;
            rest.get(..u32::from_le_bytes(*length) as usize)?
        }
        _ => return None,
    };
    Lists::by(levels, bits(column.max_rep_level()), u64::from(page.num_values()))
}

/// The number of bytes of all texts of a page of `DELTA_BYTE_ARRAY`, and of the longest: a text is the beginning of the one
/// before and what differs, so that a page may be much smaller than what it becomes. None if it is not as it should be.
pub(super) fn shared_texts(page: &Page, column: &ColumnDescriptor) -> Option<(f64, f64)> {
    if page.encoding() != Encoding::DELTA_BYTE_ARRAY {
        return None;
    }
    let (values, count_max) = (values(page, column)?, page.num_values());
    let own = Deltas::new(Deltas::new(values, count_max)?.behind()?, count_max)?;
    let lengths =
        Deltas::new(values, count_max)?.zip(own).map(|(shared, own)| shared.saturating_add(own).max(0) as f64);
    Some(lengths.fold((0.0, 0.0), |(sum, longest): (f64, f64), length| (sum + length, longest.max(length))))
}

/// Bits of a level.
fn bits(level_max: i16) -> u32 {
    i16::BITS - level_max.leading_zeros()
}

/// The values of a page, behind its levels.
fn values<'a>(page: &'a Page, column: &ColumnDescriptor) -> Option<&'a [u8]> {
    match page {
        Page::DataPageV2 { buf, rep_levels_byte_len, def_levels_byte_len, .. } => {
            buf.get((*rep_levels_byte_len as usize).checked_add(*def_levels_byte_len as usize)?..)
        }
        Page::DataPage { buf, def_level_encoding, rep_level_encoding, num_values, .. } => {
            let rest = behind(buf, column.max_rep_level(), *rep_level_encoding, *num_values)?;
            behind(rest, column.max_def_level(), *def_level_encoding, *num_values)
        }
        Page::DictionaryPage { .. } => None,
    }
}

/// What stands behind levels that a page of the first version has before its values.
fn behind(bytes: &[u8], level_max: i16, encoding: Encoding, count: u32) -> Option<&[u8]> {
    match encoding {
        _ if level_max == 0 => Some(bytes),
        Encoding::RLE => {
            let (length, rest) = bytes.split_first_chunk::<4>()?;
            rest.get(u32::from_le_bytes(*length) as usize..)
        }
        _ => bytes.get((u64::from(count) * u64::from(bits(level_max))).div_ceil(8) as usize..),
    }
}

impl Lists {
    /// Of `count` levels, which stand in runs and in groups of eight that are packed.
    fn by(mut bytes: &[u8], width: u32, count: u64) -> Option<Lists> {
        let (mut left, mut span) = (count, Span::default());
        while left > 0 {
            let header = varint(&mut bytes)?;
            let taken = if header & 1 == 0 {
                let run = (header >> 1).min(left);
                let (value, rest) = bytes.split_at_checked(width.div_ceil(8) as usize)?;
                bytes = rest;
                span.run(value.iter().all(|byte| *byte == 0), run);
                run
            } else {
                let length = usize::try_from((header >> 1).checked_mul(u64::from(width))?).ok()?;
                let (packed, rest) = bytes.split_at_checked(length.min(bytes.len()))?;
                bytes = rest;
                let levels = (header >> 1).checked_mul(8)?.min(left);
                span.packed(packed, width, levels)?;
                levels
            };
            left = left.checked_sub(taken).filter(|_| taken > 0)?;
        }
        span.lists.longest = span.lists.longest.max(span.open);
        Some(span.lists)
    }
}

/// Goes along levels.
#[derive(Default)]
struct Span {
    lists: Lists,
    /// Values of the row so far.
    open: u64,
}

impl Span {
    fn run(&mut self, begins: bool, count: u64) {
        if !begins {
            self.open += count;
            return;
        }
        self.lists.longest = self.lists.longest.max(self.open).max(u64::from(count > 1));
        self.lists.rows += count;
        self.open = u64::from(count > 0);
    }

    fn packed(&mut self, bytes: &[u8], width: u32, count: u64) -> Option<()> {
        let (mut held, mut bits, mut bytes) = (0_u64, 0, bytes.iter());
        for _ in 0..count {
            while bits < width {
                held |= u64::from(*bytes.next()?) << bits;
                bits += 8;
            }
            self.run(held & mask(width) == 0, 1);
            (held, bits) = (held >> width, bits - width);
        }
        Some(())
    }
}

/// So many bits from a bit on, the lowest first.
fn packed_at(bytes: &[u8], bit: u64, width: u32) -> Option<u64> {
    let mut value = 0_u128;
    let first = usize::try_from(bit / 8).ok()?;
    let end = usize::try_from((bit + u64::from(width)).div_ceil(8)).ok()?;
    for (place, byte) in bytes.get(first..end)?.iter().enumerate() {
        value |= u128::from(*byte) << (8 * place);
    }
    Some((value >> (bit % 8)) as u64 & mask(width))
}

fn mask(width: u32) -> u64 {
    1_u64.checked_shl(width).unwrap_or(0).wrapping_sub(1)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn signed(bytes: &mut &[u8]) -> Option<i64> {
    let value = varint(bytes)?;
    Some((value >> 1) as i64 ^ -((value & 1) as i64))
}

/// Numbers of `DELTA_BINARY_PACKED`: they end early where the bytes are not as they should be.
struct Deltas<'a> {
    bytes: &'a [u8],
    /// Numbers that are still to come.
    left: u64,
    /// Numbers that are packed together, and how many such packs a block has.
    pack: u64,
    packs: usize,
    last: i64,
    /// Of the block: its smallest step, and bits of the steps in each pack that is still to come.
    least: i64,
    widths: &'a [u8],
    /// What is packed, with so many bits each, and how many of it were taken.
    packed: &'a [u8],
    width: u32,
    taken: u64,
    is_first: bool,
}

impl<'a> Deltas<'a> {
    /// At most so many numbers.
    fn new(mut bytes: &'a [u8], count_max: u32) -> Option<Deltas<'a>> {
        let (block, packs, left) = (varint(&mut bytes)?, varint(&mut bytes)?, varint(&mut bytes)?);
        let pack = block.checked_div(packs).filter(|pack| *pack > 0 && pack % 8 == 0)?;
        let (packs, last) = (usize::try_from(packs).ok()?, signed(&mut bytes)?);
        let is_sane = left <= u64::from(count_max);
        let (widths, packed): (&[u8], &[u8]) = (&[], &[]);
        is_sane.then_some(Deltas {
            bytes,
            left,
            pack,
            packs,
            last,
            least: 0,
            widths,
            packed,
            width: 0,
            taken: pack,
            is_first: true,
        })
    }

    /// What stands behind the numbers.
    fn behind(mut self) -> Option<&'a [u8]> {
        self.by_ref().for_each(drop);
        (self.left == 0).then_some(self.bytes)
    }

    fn open_pack(&mut self) -> Option<()> {
        if self.widths.is_empty() {
            self.least = signed(&mut self.bytes)?;
            (self.widths, self.bytes) = self.bytes.split_at_checked(self.packs)?;
        }
        let (width, widths) = self.widths.split_first()?;
        self.width = u32::from(*width);
        let length = usize::try_from(self.pack.checked_mul(u64::from(self.width))? / 8).ok()?;
        (self.packed, self.bytes) = self.bytes.split_at_checked(length).filter(|_| self.width <= 64)?;
        (self.widths, self.taken) = (widths, 0);
        Some(())
    }

    fn step(&mut self) -> Option<i64> {
        if self.taken == self.pack {
            self.open_pack()?;
        }
        let step = packed_at(self.packed, self.taken * u64::from(self.width), self.width)?;
        self.taken += 1;
        Some(self.least.wrapping_add(step as i64))
    }
}

impl Iterator for Deltas<'_> {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        if self.left > 0 && !std::mem::take(&mut self.is_first) {
            self.last = self.last.wrapping_add(self.step()?);
        }
        self.left = self.left.checked_sub(1)?;
        Some(self.last)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, ListArray, RecordBatch, StringArray};
    use arrow::datatypes::Int64Type;
    use bytes::Bytes;
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::{WriterProperties, WriterVersion};
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::*;

    /// The pages of the only column, of so many rows each, with what it is.
    fn pages(column: ArrayRef, version: WriterVersion, rows: usize) -> (Vec<Page>, Arc<ColumnDescriptor>) {
        let table = RecordBatch::try_from_iter_with_nullable([("c", column, true)]).unwrap();
        let properties = WriterProperties::builder().set_writer_version(version).set_dictionary_enabled(false);
        let properties = properties.set_write_batch_size(rows).set_data_page_row_count_limit(rows);
        let properties = properties.set_column_encoding("c".into(), Encoding::DELTA_BYTE_ARRAY);
        let properties = match table.column(0).data_type() {
            arrow::datatypes::DataType::Utf8 => properties,
            _ => properties.set_column_encoding("c.list.item".into(), Encoding::PLAIN),
        };
        let mut writer = ArrowWriter::try_new(Vec::new(), table.schema(), Some(properties.build())).unwrap();
        writer.write(&table).unwrap();
        let file = SerializedFileReader::new(Bytes::from(writer.into_inner().unwrap())).unwrap();
        let mut reader = file.get_row_group(0).unwrap().get_column_page_reader(0).unwrap();
        let pages = std::iter::from_fn(|| reader.get_next_page().unwrap()).collect();
        (pages, file.metadata().file_metadata().schema_descr().column(0))
    }

    #[test]
    fn texts_that_share_their_beginnings_are_as_long_as_they_become() {
        let long = "x".repeat(9000);
        let text = |row: usize| (row % 3 != 1).then(|| format!("{}{row}", &long[..row * 7]));
        for (count, version) in [(1, 0), (1000, 0), (1000, 1)]
            .map(|(count, version)| (count, [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0][version]))
        {
            let texts: Vec<Option<String>> = (0..count).map(text).collect();
            let (pages, column) = pages(Arc::new(StringArray::from(texts.clone())), version, 10_000);
            let lengths = texts.iter().flatten().map(|text| text.len() as f64);
            let right = (lengths.clone().sum(), lengths.fold(0.0, f64::max));
            assert_eq!(pages.len(), 1);
            assert_eq!(shared_texts(&pages[0], &column), Some(right));
            assert!((pages[0].buffer().len() as f64) < right.0.max(100.0) / 10.0 || count == 1);
        }
    }

    #[test]
    fn rows_of_lists_are_counted() {
        let rows = (0..1000).map(|row| (row % 5 != 2).then(|| (0..row % 4).map(|n| Some(i64::from(n)))));
        let (pages, column) =
            pages(Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(rows)), WriterVersion::PARQUET_2_0, 100);
        assert!(pages.len() > 5);
        let counted: Vec<u64> = pages.iter().map(|page| lists(page, &column).unwrap().rows).collect();
        let said = pages.iter().map(|page| match page {
            Page::DataPageV2 { num_rows, .. } => u64::from(*num_rows),
            _ => panic!("of the second version"),
        });
        assert_eq!(counted, said.collect::<Vec<_>>());
        assert_eq!(counted.iter().sum::<u64>(), 1000);
    }

    #[test]
    fn bytes_that_are_something_else_are_no_numbers() {
        for bytes in [&[][..], &[128, 1, 4], &[8, 0, 3, 0], &[128, 1, 4, 200, 1, 0, 0, 255, 255, 255, 255]] {
            assert_eq!(Deltas::new(bytes, 100).and_then(Deltas::behind), None, "{bytes:?}");
        }
        let lists = |bytes: &[u8], count| Lists::by(bytes, 1, count).map(|lists| (lists.rows, lists.longest));
        assert_eq!((lists(&[], 3), lists(&[0, 0], 3), lists(&[1], 3), lists(&[4, 0], 3)), (None, None, None, None));
        assert_eq!((lists(&[6, 0], 3), lists(&[6, 1], 3)), (Some((3, 1)), Some((0, 3))));
        assert_eq!(lists(&[3, 0b1011_0110, 4, 1, 2, 0], 11), Some((4, 4)));
    }
}
