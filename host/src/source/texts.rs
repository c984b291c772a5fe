//! A column chunk of texts or bytes, decoded at once. Ids are mostly that, without nulls, in plain pages or with a dictionary in
//! which each stands once; a resume reads all of them and little else. For these the general decoder takes three times as long.
//!
//! Only such chunks are decoded here. Of any other, and of one that is not what its footer says, nothing is said but that it is
//! not for here: the general decoder reads it, or says what is wrong.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, StringArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::DataType;
use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use parquet::basic::{Encoding, Type};
use parquet::column::page::{Page, PageReader};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::file::statistics::Statistics;

/// Bytes of a chunk, packed or not, and of what becomes of it.
const CHUNK_BYTES_MAX: usize = 16 << 20;

/// Values of up to so many bytes are copied as so many.
const COPIED_AT_ONCE: usize = 16;

/// Whether a chunk of a column that the file reads as `data_type` is for here, as far as the footer says.
pub(super) fn fits(chunk: &ColumnChunkMetaData, data_type: &DataType) -> bool {
    let column = chunk.column_descr();
    let is_small = |bytes: i64| usize::try_from(bytes).is_ok_and(|bytes| bytes <= CHUNK_BYTES_MAX);
    let has_no_null = || chunk.statistics().and_then(Statistics::null_count_opt) == Some(0);
    let is_place = |offset: i64| offset >= 0;
    matches!(data_type, DataType::Utf8 | DataType::Binary)
        && is_place(chunk.data_page_offset())
        && chunk.dictionary_page_offset().is_none_or(is_place)
        && column.physical_type() == Type::BYTE_ARRAY
        && column.max_rep_level() == 0
        && (column.max_def_level() == 0 || column.max_def_level() == 1 && has_no_null())
        && is_small(chunk.compressed_size())
        && is_small(chunk.uncompressed_size())
        && chunk.encodings().all(is_known)
}

fn is_known(encoding: Encoding) -> bool {
    #[expect(deprecated, reason = "old files say so of their levels, and of nothing else that is known here")]
    let of_levels = Encoding::BIT_PACKED;
    [Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY, Encoding::PLAIN_DICTIONARY, of_levels]
        .contains(&encoding)
}

/// The values of a chunk of `rows` rows whose bytes are `bytes`. None if it is not for here.
pub(super) fn decode(chunk: &ColumnChunkMetaData, data_type: &DataType, rows: usize, bytes: Bytes) -> Option<ArrayRef> {
    let (start, _) = chunk.byte_range();
    let mut pages = SerializedPageReader::new(Arc::new(Chunk { start, bytes }), chunk, rows, None).ok()?;
    let is_nullable = chunk.column_descr().max_def_level() == 1;
    let (mut dictionary, mut values, mut indices) = (Values::default(), Values::default(), Vec::new());
    while let Some(page) = pages.get_next_page().ok()? {
        if let Page::DictionaryPage { buf, num_values, .. } = &page {
            dictionary.plain(buf, *num_values as usize)?;
            continue;
        }
        let (buf, count) = without_levels(&page, is_nullable)?;
        if values.len() + count > rows {
            return None;
        }
        match page.encoding() {
            Encoding::PLAIN => values.plain(buf, count)?,
            Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY => {
                let (&width, packed) = buf.split_first()?;
                runs(packed, width, count, &mut indices)?;
                values.look_up(&dictionary, &indices)?;
            }
            _ => return None,
        }
    }
    if values.len() == rows { values.array(data_type) } else { None }
}

/// The values of a page, behind the levels that say which rows have one; and their number. None if a row has none.
fn without_levels(page: &Page, is_nullable: bool) -> Option<(&[u8], usize)> {
    match page {
        Page::DataPage { buf, num_values, .. } if !is_nullable => Some((buf, *num_values as usize)),
        Page::DataPage { buf, num_values, def_level_encoding: Encoding::RLE, .. } => {
            let length = u32::from_le_bytes(*buf.first_chunk()?) as usize;
            let (levels, count) = (buf.get(4..length.checked_add(4)?)?, *num_values as usize);
            let mut all = Vec::new();
            runs(levels, 1, count, &mut all)?;
            all.iter().all(|&level| level == 1).then_some((&buf[4 + length..], count))
        }
        Page::DataPageV2 { buf, num_values, num_nulls: 0, def_levels_byte_len, rep_levels_byte_len: 0, .. } => {
            Some((buf.get(*def_levels_byte_len as usize..)?, *num_values as usize))
        }
        _ => None,
    }
}

/// Numbers of `width` bits, packed or as runs of one number, as Parquet's "RLE/bit-packing hybrid".
fn runs(mut packed: &[u8], width: u8, count: usize, out: &mut Vec<u32>) -> Option<()> {
    out.clear();
    // Nothing that a few bytes claim becomes more than a chunk may hold.
    if width > 32 || count > CHUNK_BYTES_MAX {
        return None;
    }
    while out.len() < count {
        let header = varint(&mut packed)?;
        let left = count - out.len();
        if header & 1 == 0 {
            let (value, rest) = packed.split_at_checked(usize::from(width.div_ceil(8)))?;
            let value = value.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte));
            let length = (header >> 1) as usize;
            if length == 0 {
                return None;
            }
            out.extend(std::iter::repeat_n(value, length.min(left)));
            packed = rest;
        } else {
            let groups = (header >> 1) as usize;
            let (numbers, rest) = packed.split_at_checked(groups.checked_mul(usize::from(width))?)?;
            if groups == 0 {
                return None;
            }
            unpack(numbers, width, left.min(groups.checked_mul(8)?), out);
            packed = rest;
        }
    }
    Some(())
}

fn varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0u64;
    for shift in (0..35).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(number).ok();
        }
    }
    None
}

/// The first `count` numbers of `width` bits each, the lowest bits first.
fn unpack(mut packed: &[u8], width: u8, count: usize, out: &mut Vec<u32>) {
    let mask = (1u64 << width) - 1;
    let (mut bits, mut have) = (0u64, 0);
    out.extend((0..count).map(|_| {
        if have < width {
            // Below 32 bits are left, so 32 more have room.
            let (word, taken) = match packed.first_chunk::<4>() {
                Some(word) => (u32::from_le_bytes(*word), 4),
                None => (packed.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte)), packed.len()),
            };
            bits |= u64::from(word) << have;
            have += 32;
            packed = &packed[taken..];
        }
        let number = (bits & mask) as u32;
        bits >>= width;
        have -= width;
        number
    }));
}

/// Values one after another, with room behind them for a copy of fixed size.
struct Values {
    bytes: Vec<u8>,
    /// Where each ends, behind a 0.
    ends: Vec<i32>,
}

impl Default for Values {
    fn default() -> Values {
        Values { bytes: vec![0; COPIED_AT_ONCE], ends: vec![0] }
    }
}

impl Values {
    fn len(&self) -> usize {
        self.ends.len() - 1
    }

    fn end(&self) -> usize {
        self.ends[self.ends.len() - 1] as usize
    }

    /// Makes room for so many bytes more. None if that is more than a chunk may become.
    fn reserve(&mut self, bytes: usize) -> Option<()> {
        let needed = self.end().checked_add(bytes)?;
        if needed > CHUNK_BYTES_MAX {
            return None;
        }
        if needed + COPIED_AT_ONCE > self.bytes.len() {
            self.bytes.resize((needed + COPIED_AT_ONCE).max(2 * self.bytes.len()), 0);
        }
        Some(())
    }

    /// Adds values as Parquet writes them plainly, each behind its length.
    fn plain(&mut self, mut plain: &[u8], count: usize) -> Option<()> {
        if count > plain.len() {
            return None;
        }
        self.reserve(plain.len())?;
        self.ends.reserve(count);
        let mut end = self.end();
        for _ in 0..count {
            let (length, rest) = plain.split_first_chunk()?;
            let length = u32::from_le_bytes(*length) as usize;
            if length > rest.len() {
                return None;
            }
            copy(rest, 0, length, &mut self.bytes, end);
            plain = &rest[length..];
            end += length;
            self.ends.push(end as i32);
        }
        Some(())
    }

    /// Adds values of a dictionary. Where each stands once, as ids do, they are mostly asked for as they stand.
    fn look_up(&mut self, dictionary: &Values, indices: &[u32]) -> Option<()> {
        let Some(&first) = indices.first() else { return Some(()) };
        let first = first as usize;
        if indices.iter().zip(first..).all(|(&index, expected)| index as usize == expected) {
            return self.look_up_run(dictionary, first, indices.len());
        }
        self.ends.reserve(indices.len());
        let mut end = self.end();
        for &index in indices {
            let (start, stop) = dictionary.bounds(index as usize)?;
            let length = stop - start;
            if end + length + COPIED_AT_ONCE > self.bytes.len() {
                self.reserve(length)?;
            }
            copy(&dictionary.bytes, start, length, &mut self.bytes, end);
            end += length;
            self.ends.push(end as i32);
        }
        Some(())
    }

    fn look_up_run(&mut self, dictionary: &Values, first: usize, count: usize) -> Option<()> {
        let ends = dictionary.ends.get(first..first.checked_add(count)?.checked_add(1)?)?;
        let (start, stop) = (ends[0] as usize, ends[count] as usize);
        self.reserve(stop - start)?;
        let end = self.end();
        self.bytes[end..end + stop - start].copy_from_slice(&dictionary.bytes[start..stop]);
        let shift = end as i32 - ends[0];
        self.ends.extend(ends[1..].iter().map(|end| end + shift));
        Some(())
    }

    fn bounds(&self, index: usize) -> Option<(usize, usize)> {
        let bounds = self.ends.get(index..index.checked_add(2)?)?;
        Some((bounds[0] as usize, bounds[1] as usize))
    }

    fn array(mut self, data_type: &DataType) -> Option<ArrayRef> {
        self.bytes.truncate(self.end());
        let (offsets, bytes) = (OffsetBuffer::new(ScalarBuffer::from(self.ends)), self.bytes.into());
        match data_type {
            DataType::Utf8 => Some(Arc::new(StringArray::try_new(offsets, bytes, None).ok()?)),
            DataType::Binary => Some(Arc::new(BinaryArray::try_new(offsets, bytes, None).ok()?)),
            _ => None,
        }
    }
}

/// Copies a value. A copy of fixed size is one load and one store; what it writes too much, the next value overwrites.
fn copy(from: &[u8], start: usize, length: usize, to: &mut [u8], at: usize) {
    let chunks = (
        from.get(start..).and_then(|from| from.first_chunk::<COPIED_AT_ONCE>()),
        to.get_mut(at..).and_then(|to| to.first_chunk_mut::<COPIED_AT_ONCE>()),
    );
    match chunks {
        (Some(from), Some(to)) if length <= COPIED_AT_ONCE => *to = *from,
        _ => to[at..at + length].copy_from_slice(&from[start..start + length]),
    }
}

/// The bytes of one chunk, where they lie in the file.
struct Chunk {
    start: u64,
    bytes: Bytes,
}

impl Chunk {
    fn from(&self, start: u64) -> ParquetResult<Bytes> {
        let skipped = start.checked_sub(self.start).and_then(|skipped| usize::try_from(skipped).ok());
        let skipped = skipped.filter(|&skipped| skipped <= self.bytes.len());
        Ok(self.bytes.slice(skipped.ok_or_else(beyond)?..))
    }
}

fn beyond() -> ParquetError {
    ParquetError::EOF("a page lies beyond its column chunk".into())
}

impl Length for Chunk {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Chunk {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Reader<Bytes>> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(beyond());
        }
        Ok(bytes.slice(..length))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray, RecordBatch};
    use arrow::datatypes::{Field, Schema};
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::*;

    fn written(
        column: &ArrayRef,
        is_nullable: bool,
        edit: &dyn Fn(WriterPropertiesBuilder) -> WriterPropertiesBuilder,
    ) -> Bytes {
        let field = Field::new("id", column.data_type().clone(), is_nullable);
        let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::clone(column)]).unwrap();
        let mut writer =
            ArrowWriter::try_new(Vec::new(), batch.schema(), Some(edit(WriterProperties::builder()).build())).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap().into()
    }

    /// What this file makes of the only chunk of a file; none if it is not for here.
    fn decoded(file: &Bytes, data_type: &DataType) -> Option<ArrayRef> {
        let reader = SerializedFileReader::new(file.clone()).unwrap();
        let group = reader.metadata().row_group(0);
        let chunk = group.column(0);
        let (start, length) = chunk.byte_range();
        let bytes = file.slice(start as usize..(start + length) as usize);
        fits(chunk, data_type).then(|| decode(chunk, data_type, group.num_rows() as usize, bytes)).flatten()
    }

    fn columns() -> Vec<ArrayRef> {
        let text = |value: &dyn Fn(usize) -> String| {
            Arc::new((0..5000).map(|row| Some(value(row))).collect::<StringArray>()) as ArrayRef
        };
        let in_turn = text(&|row| row.to_string());
        let bytes = BinaryArray::from_iter_values((0..5000u32).map(|row| (row * 7 % 300).to_be_bytes()));
        vec![
            in_turn,
            text(&|row| (row * 7919 % 613).to_string()),
            text(&|_| "always".into()),
            text(&|row| "ä\u{1F980}".repeat(row % 23)),
            text(&|row| "x".repeat(row % 40)),
            Arc::new(bytes),
            Arc::new(StringArray::from(vec![""; 3])),
        ]
    }

    #[test]
    fn it_says_what_the_general_decoder_says() {
        let edits: [&dyn Fn(WriterPropertiesBuilder) -> WriterPropertiesBuilder; 5] = [
            &|properties| properties,
            &|properties| properties.set_dictionary_enabled(false),
            &|properties| properties.set_dictionary_page_size_limit(500).set_write_batch_size(64),
            &|properties| properties.set_data_page_row_count_limit(77).set_write_batch_size(7),
            &|properties| properties.set_writer_version(WriterVersion::PARQUET_2_0).set_encoding(Encoding::PLAIN),
        ];
        for column in columns() {
            for is_nullable in [false, true] {
                for (place, edit) in edits.iter().enumerate() {
                    let file = written(&column, is_nullable, edit);
                    let general = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
                    let general = general.with_batch_size(10_000).build().unwrap().next().unwrap().unwrap();
                    let own =
                        decoded(&file, column.data_type()).unwrap_or_else(|| panic!("edit {place}: not for here"));
                    assert_eq!(own.as_ref(), general.column(0).as_ref(), "edit {place}");
                    assert_eq!(own.as_ref(), column.as_ref(), "edit {place}");
                }
            }
        }
    }

    #[test]
    fn other_chunks_are_left_to_the_general_decoder() {
        let with_null: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
        assert!(decoded(&written(&with_null, true, &|properties| properties), &DataType::Utf8).is_none());
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        let delta = |properties: WriterPropertiesBuilder| {
            properties.set_dictionary_enabled(false).set_encoding(Encoding::DELTA_BYTE_ARRAY)
        };
        assert!(decoded(&written(&texts, false, &delta), &DataType::Utf8).is_none());
        let long = "x".repeat(1 << 20);
        let long: ArrayRef = Arc::new(StringArray::from(vec![long.as_str(); 100]));
        assert!(decoded(&written(&long, false, &|properties| properties), &DataType::Utf8).is_none(), "a bomb");
    }

    /// Whatever single byte is wrong: the answer is the same, another, or none, and never a panic beyond the decoder's own.
    #[test]
    fn damaged_chunks_are_no_panic() {
        let column: ArrayRef = Arc::new((0..200).map(|row| Some((row % 50).to_string())).collect::<StringArray>());
        let file = written(&column, true, &|properties| properties);
        let reader = SerializedFileReader::new(file.clone()).unwrap();
        let chunk = reader.metadata().row_group(0).column(0);
        let (start, length) = chunk.byte_range();
        for place in start..start + length {
            for change in [1, 0x80, 0xFF] {
                let mut bytes = file[start as usize..(start + length) as usize].to_vec();
                bytes[(place - start) as usize] ^= change;
                if let Some(array) = decode(chunk, &DataType::Utf8, 200, bytes.into()) {
                    assert_eq!(array.as_string::<i32>().len(), 200);
                }
            }
        }
    }
}
