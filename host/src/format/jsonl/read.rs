//! An object of JSON Lines as it is read.
//!
//! *Positions.* A plain object is cut into spans of [`SPAN_BYTES`]. A line belongs to the span that its first byte lies in; its
//! position is the span's first byte plus its ordinal among the lines of the span, which is never more than its own first byte's
//! place, so positions ascend and are below the object's size. A span is a unit: it is read without what lies before it, and
//! several are read at once. A compressed object has no place to begin but its first byte: it is one unit, and positions are
//! ordinals of lines, below [`LINES_MAX`]. Positions at which no line stands, because it is blank or because there are no more
//! lines, are given out as blank, so that a unit is done when all its positions are. The last line needs no end.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::decode::{Decoder, Options, SchemaError};
use super::extra::{EXTRA_COLUMN, ExtraKeys};
use super::lines::{Content as OfLine, Line, Lines, Position};
use super::refusal::Refusal;
use super::text::{Packed, Plain, Text};
use crate::block::Numbering;
use crate::format::arrange::arrange;
use crate::format::compression::Compression;
use crate::format::{
    AsyncRanges, BadLine, Content, Edges, Format, FormatError, Left, Opened, Read, RowReader, Rows, Unit, Wanted, sniff,
};

/// Bytes of a span of a plain object. Positions of rows that are done depend on it: it never changes.
pub const SPAN_BYTES: u64 = 8 << 20;
/// Lines of a compressed object at most, 2^48.
pub const LINES_MAX: u64 = 1 << 48;

const MEND: &str = "mend the line where it was written, or leave such lines out with on_bad_line = \"skip\" or \"dead-letter\" under \
                    [source]";
const UNENDED: &str = "the file's last line has no end: if it is still being written, run again when it is whole";
const TOO_LONG: &str =
    "raise `record_bytes_max` under [source]; or leave such lines out with on_bad_line = \"skip\" or \"dead-letter\"";

/// The format, with all that is fixed about a job's lines.
#[derive(Clone, Debug)]
pub struct JsonLines {
    /// The columns that keys of a line go to.
    keyed: SchemaRef,
    /// The same with the column of kept keys, if they are.
    schema: SchemaRef,
    extra_keys: ExtraKeys,
    record_bytes_max: usize,
    /// [`SPAN_BYTES`]; of tests less.
    span_bytes: u64,
}

impl JsonLines {
    /// Lines of these columns; other keys as it says; lines of so many bytes at most, without their ends.
    pub fn new(keyed: &SchemaRef, extra_keys: ExtraKeys, record_bytes_max: usize) -> Result<JsonLines, SchemaError> {
        let schema = Decoder::new(keyed, &Options { extra_keys, columns: None })?.schema().clone();
        Ok(JsonLines { keyed: keyed.clone(), schema, extra_keys, record_bytes_max, span_bytes: SPAN_BYTES })
    }

    /// All columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Those that are wanted of a line, and where each of `schema` is then.
    fn projection(&self, schema: &Schema) -> (Decoder, Vec<Option<usize>>) {
        let wanted: HashSet<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let wants = |name: &str| wanted.contains(name);
        let fields = self.keyed.fields().iter().enumerate();
        let columns = fields.filter(|(_, field)| wants(field.name())).map(|(place, _)| place).collect();
        let extra_keys = match self.extra_keys {
            ExtraKeys::Keep if !wants(EXTRA_COLUMN) => ExtraKeys::Drop,
            policy => policy,
        };
        let decoder = Decoder::new(&self.keyed, &Options { extra_keys, columns: Some(columns) });
        let decoder = decoder.expect("the format was made with the same schema");
        let decoded = decoder.schema().fields().iter().zip(0..);
        let decoded: HashMap<&str, usize> = decoded.map(|(field, place)| (field.name().as_str(), place)).collect();
        let places = schema.fields().iter().map(|field| decoded.get(field.name().as_str()).copied()).collect();
        (decoder, places)
    }
}

impl Format for JsonLines {
    fn name(&self) -> &'static str {
        "jsonl"
    }

    fn open<'a>(&'a self, ranges: &'a dyn AsyncRanges, edges: &'a Edges) -> BoxFuture<'a, Result<Opened, FormatError>> {
        let compression = Compression::of_name(ranges.name());
        let opened = sniff::refuse_other_than_text(&edges.head, compression).map(|()| {
            let object = Object { format: self.clone(), compression, size: ranges.size() };
            // A line in the middle may be another, and nothing at the edges tells.
            let identity = (!Edges::are_all(ranges.size())).then(|| ranges.version().into());
            Opened { content: Arc::new(object), identity }
        });
        std::future::ready(opened).boxed()
    }
}

/// One object.
#[derive(Debug)]
struct Object {
    format: JsonLines,
    compression: Compression,
    size: u64,
}

impl Content for Object {
    fn rows(&self) -> u64 {
        match self.compression {
            _ if self.size == 0 => 0,
            Compression::None => self.size,
            Compression::Gzip | Compression::Zstd => LINES_MAX,
        }
    }

    fn numbering(&self) -> Numbering {
        match self.compression {
            Compression::None => Numbering::LinesOfSpans(self.format.span_bytes),
            Compression::Gzip | Compression::Zstd => Numbering::Lines,
        }
    }

    fn schema(&self) -> &SchemaRef {
        &self.format.schema
    }

    fn annotated_schema(&self) -> Result<SchemaRef, FormatError> {
        Ok(self.format.schema.clone())
    }

    fn ordered_columns(&self) -> Vec<&str> {
        Vec::new()
    }

    fn unreadable(&self) -> Vec<(&str, FormatError)> {
        Vec::new()
    }

    fn nulls(&self, _: &str) -> Option<u64> {
        None
    }

    fn units(&self) -> Vec<Unit> {
        let step = match self.compression {
            Compression::None => self.format.span_bytes,
            Compression::Gzip | Compression::Zstd => LINES_MAX,
        };
        let unit = |number: u64| {
            let rows = number * step..((number + 1) * step).min(self.rows());
            Unit { number: number as usize, first_byte: if step == LINES_MAX { 0 } else { rows.start }, rows }
        };
        (0..self.rows().div_ceil(step)).map(unit).collect()
    }

    fn read<'a>(&'a self, wanted: Wanted<'a>) -> Box<dyn RowReader + 'a> {
        Box::new(LineReader::new(self, wanted))
    }
}

/// Gives out the wanted lines of one unit.
struct LineReader<'a> {
    object: &'a Object,
    unit: &'a Unit,
    schema: SchemaRef,
    left: Left,
    decoder: Decoder,
    /// Of each wanted column among the decoded ones.
    places: Vec<Option<usize>>,
    rows_max: usize,
    bytes_max: usize,
    text: Text,
    /// None until the first line of the unit is found.
    lines: Option<Lines>,
    /// The position behind the last line that was seen.
    next: u64,
    is_over: bool,
    gathered: Gathered,
}

/// What is read of the next batch, beside its rows.
#[derive(Default)]
struct Gathered {
    rows: Vec<Range<u64>>,
    blank: Rows,
    bad: Vec<BadLine>,
    /// Bytes of bad lines.
    bytes: usize,
}

impl<'a> LineReader<'a> {
    fn new(object: &'a Object, wanted: Wanted<'a>) -> LineReader<'a> {
        let Wanted { unit, schema, rows, size, ranges } = wanted;
        let (decoder, places) = object.format.projection(&schema);
        let text = match object.compression {
            // The byte before says whether the span begins with a line.
            Compression::None => {
                let span = unit.rows.start.saturating_sub(1)..unit.rows.end;
                Text::Plain(Plain::of(&ranges, &span, size.window_bytes))
            }
            packed => Text::Packed(Box::new(Packed::of(&ranges, packed, size.window_bytes))),
        };
        LineReader {
            object,
            unit,
            schema,
            left: Left::new(rows),
            decoder,
            places,
            rows_max: size.rows_max,
            bytes_max: size.bytes_max,
            text,
            lines: None,
            next: unit.rows.start,
            is_over: false,
            gathered: Gathered::default(),
        }
    }

    /// Whether the next line would be too much for this batch.
    fn is_full(&self) -> bool {
        let held = self.decoder.bytes() + self.gathered.bytes;
        let rows = self.decoder.rows() + self.gathered.bad.len();
        rows >= self.rows_max
            || (rows > 0 && (held >= self.bytes_max || !self.decoder.has_room(self.object.format.record_bytes_max)))
    }

    /// Reads up to the end of the batch, or of the unit.
    fn gather(&mut self) -> Result<(), FormatError> {
        let lines = match self.lines.take() {
            Some(lines) => Some(lines),
            None => self.first_lines()?,
        };
        let Some(mut lines) = lines else {
            self.end();
            return Ok(());
        };
        while !self.is_full() {
            if !self.advance(&mut lines)? {
                self.end();
                return Ok(());
            }
        }
        self.lines = Some(lines);
        Ok(())
    }

    /// Takes a line, or more of the text. Answers whether the unit may have more lines that are wanted.
    fn advance(&mut self, lines: &mut Lines) -> Result<bool, FormatError> {
        if self.left.is_empty() || self.is_behind(lines.position()) {
            return Ok(false);
        }
        if let Some(line) = lines.next() {
            let is_own = !self.is_behind(line.at);
            if is_own {
                self.line(&line);
            }
            return Ok(is_own);
        }
        if self.is_behind(lines.position()) || lines.is_finished() {
            return Ok(false);
        }
        match self.text.next()? {
            Some(chunk) => lines.feed(chunk),
            None => lines.finish(),
        }
        Ok(true)
    }

    /// Whether a line belongs to a later unit. A compressed object has only one.
    fn is_behind(&self, at: Position) -> bool {
        self.object.compression == Compression::None && at.offset >= self.unit.rows.end
    }

    /// From the first line that begins in the unit; none if none does.
    fn first_lines(&mut self) -> Result<Option<Lines>, FormatError> {
        let record_bytes_max = self.object.format.record_bytes_max;
        if self.unit.rows.start == 0 {
            return Ok(Some(Lines::new(record_bytes_max)));
        }
        let mut at = self.unit.rows.start - 1;
        while let Some(chunk) = self.text.next()? {
            let end = memchr::memchr(b'\n', &chunk).map(|end| end + 1);
            at += end.unwrap_or(chunk.len()) as u64;
            if at >= self.unit.rows.end {
                break;
            }
            if let Some(end) = end {
                let mut lines = Lines::from(record_bytes_max, Position { line: 0, offset: at });
                lines.feed(chunk.slice(end..));
                return Ok(Some(lines));
            }
        }
        Ok(None)
    }

    fn line(&mut self, line: &Line<'_>) {
        let position = self.unit.rows.start + line.at.line;
        self.left.take(self.next..position, &mut self.gathered.blank);
        self.next = position + 1;
        if !self.left.takes(position) {
            return;
        }
        let bad = match line.content {
            OfLine::Text(text) => match self.decoder.push(text) {
                Ok(()) => return push(&mut self.gathered.rows, position),
                Err(refusal) => refused(&refusal, line, text),
            },
            OfLine::TooLong { bytes, head } => too_long(bytes, self.object.format.record_bytes_max, head),
        };
        let message = match self.object.numbering() {
            // Beyond the first span, nobody counts lines.
            Numbering::LinesOfSpans(span_bytes) if position >= span_bytes => {
                format!("{}; the line begins at byte {}", bad.message, line.at.offset)
            }
            _ => bad.message,
        };
        self.gathered.bytes += bad.line.len();
        self.gathered.bad.push(BadLine { row: position, message, ..bad });
    }

    fn end(&mut self) {
        self.left.take(self.next..self.unit.rows.end, &mut self.gathered.blank);
        self.is_over = true;
    }

    fn read(&mut self) -> Result<Read, FormatError> {
        let batch = self.arranged()?;
        let Gathered { rows, blank, bad, .. } = std::mem::take(&mut self.gathered);
        Ok(Read { batch, rows: Rows::new(rows), blank, bad })
    }

    fn arranged(&mut self) -> Result<RecordBatch, FormatError> {
        let arranged = arrange(&self.decoder.finish(), &self.places, &self.schema);
        arranged.map_err(|unfit| FormatError::Differs { message: unfit.message, hint: MEND })
    }
}

impl RowReader for LineReader<'_> {
    fn next(&mut self) -> Result<Option<Read>, FormatError> {
        if self.is_over {
            return Ok(None);
        }
        self.gather()?;
        self.read().map(Some)
    }
}

fn push(rows: &mut Vec<Range<u64>>, row: u64) {
    match rows.last_mut() {
        Some(last) if last.end == row => last.end += 1,
        _ => rows.push(row..row + 1),
    }
}

fn refused(refusal: &Refusal, line: &Line<'_>, text: &[u8]) -> BadLine {
    let hint = if line.is_ended { refusal.hint().unwrap_or(MEND) } else { UNENDED };
    BadLine { row: 0, message: refusal.to_string(), hint, line: Bytes::copy_from_slice(text) }
}

fn too_long(bytes: u64, bytes_max: usize, head: &[u8]) -> BadLine {
    let message = format!("the line has {bytes} bytes, and record_bytes_max is {bytes_max}");
    BadLine { row: 0, message, hint: TOO_LONG, line: Bytes::copy_from_slice(head) }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::format::BlockSize;
    use crate::format::compression::pack::Pack;
    use crate::format::jsonl::types;

    /// The same numbers every time.
    struct Random(u64);

    impl Random {
        fn below(&mut self, below: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % below
        }
    }

    /// What stands at a position.
    #[derive(Clone, Debug, PartialEq)]
    enum Stands {
        Row(i64),
        Bad(Vec<u8>),
    }

    /// A text, and what its lines are, in order; blank ones are none.
    fn text(random: &mut Random) -> (Vec<u8>, Vec<(u64, Option<Stands>)>) {
        let (mut text, mut lines) = (Vec::new(), Vec::new());
        for number in 0..random.below(30) {
            let at = text.len() as u64;
            let pad = " ".repeat(random.below(9) as usize);
            let (line, stands) = match random.below(6) {
                0 => (pad, None),
                1 => (format!("{{bad {number}{pad}"), Some(true)),
                _ => (format!("{{\"n\": {number}{pad}}}"), Some(false)),
            };
            let stands = stands.map(|is_bad| match is_bad {
                true => Stands::Bad(line.clone().into_bytes()),
                false => Stands::Row(number as i64),
            });
            text.extend_from_slice(line.as_bytes());
            text.extend_from_slice([&b"\n"[..], b"\r\n"][random.below(2) as usize]);
            lines.push((at, stands));
        }
        if random.below(2) == 0 {
            // The last line has no end.
            let at = text.len() as u64;
            text.extend_from_slice(b"{\"n\": -1}");
            lines.push((at, Some(Stands::Row(-1))));
        }
        (text, lines)
    }

    fn format(span_bytes: u64) -> JsonLines {
        let schema = Arc::new(Schema::new(vec![types::field("n", "int64").unwrap()]));
        JsonLines { span_bytes, ..JsonLines::new(&schema, ExtraKeys::Refuse, 1000).unwrap() }
    }

    fn object(bytes: &[u8], compression: Compression, span_bytes: u64) -> Object {
        Object { format: format(span_bytes), compression, size: bytes.len() as u64 }
    }

    /// What is read at each wanted position, each of which is there once; none where no row is.
    fn read(
        object: &Object,
        bytes: &[u8],
        wanted: &[Range<u64>],
        random: &mut Random,
    ) -> Vec<(Range<u64>, Option<Stands>)> {
        let mut seen = Vec::new();
        for unit in object.units() {
            let within = |range: &Range<u64>| range.start.max(unit.rows.start)..range.end.min(unit.rows.end);
            let rows = Rows::new(wanted.iter().map(within).filter(|range| !range.is_empty()).collect());
            let (rows_max, bytes_max) = (1 + random.below(5) as usize, 1 + random.below(60) as usize);
            let size = BlockSize { rows_max, bytes_max, window_bytes: 1 + random.below(50), page_bytes_max: 0 };
            let (schema, ranges) = (object.format.schema.clone(), Arc::new(Bytes::copy_from_slice(bytes)));
            let mut reader = object.read(Wanted { unit: &unit, schema, rows, size, ranges });
            while let Some(Read { batch, rows, blank, bad }) = reader.next().unwrap() {
                assert!(batch.num_rows() + bad.len() <= rows_max);
                let numbers = batch.column(0).as_primitive::<Int64Type>().values().iter();
                let rows = rows.ranges().iter().cloned().flatten().zip(numbers);
                seen.extend(rows.map(|(row, number)| (row..row + 1, Some(Stands::Row(*number)))));
                seen.extend(blank.ranges().iter().map(|range| (range.clone(), None)));
                let bad = bad.into_iter().map(|bad| (bad.row..bad.row + 1, Some(Stands::Bad(bad.line.to_vec()))));
                seen.extend(bad);
            }
        }
        seen.sort_by_key(|(range, _)| range.start);
        seen
    }

    /// Position by position, as the module says where lines stand.
    fn expected(lines: &[(u64, Option<Stands>)], object: &Object) -> Vec<(u64, Stands)> {
        let span_bytes = object.format.span_bytes;
        let (mut span, mut ordinal, mut stand) = (0, 0, Vec::new());
        for (at, stands) in lines {
            let of = if object.compression == Compression::None { at / span_bytes * span_bytes } else { 0 };
            ordinal = if of == span { ordinal } else { 0 };
            span = of;
            stand.extend(stands.clone().map(|stands| (span + ordinal, stands)));
            ordinal += 1;
        }
        stand
    }

    #[test]
    fn every_position_is_read_once_however_the_text_is_cut() {
        let mut random = Random(5);
        for round in 0..600 {
            let (text, lines) = text(&mut random);
            let compression = [Compression::None, Compression::Gzip, Compression::Zstd][round % 3];
            let mut bytes = Vec::new();
            let mut pack = Pack::new(compression, None).unwrap();
            pack.write(&text, &mut bytes).unwrap();
            pack.end(&mut bytes).unwrap();
            let object = object(&bytes, compression, 1 + random.below(70));
            let stand = expected(&lines, &object);
            // All, or what is left of it.
            let (mut wanted, mut next) = (Vec::new(), 0);
            while next < object.rows() {
                let start = next + if round % 2 == 0 { 0 } else { random.below(9) };
                let end = if random.below(4) == 0 { object.rows() } else { start + 1 + random.below(20) };
                wanted.push(start.min(object.rows())..end.min(object.rows()));
                next = end;
            }
            wanted.retain(|range| !range.is_empty());
            let seen = read(&object, &bytes, &wanted, &mut random);
            let is_wanted = |row: u64| wanted.iter().any(|range| range.contains(&row));
            let found: Vec<_> =
                seen.iter().filter_map(|(range, stands)| Some((range.start, stands.clone()?))).collect();
            let stand: Vec<_> = stand.into_iter().filter(|(row, _)| is_wanted(*row)).collect();
            assert_eq!(found, stand, "round {round}");
            let mut covered = Vec::new();
            seen.iter().for_each(|(range, _)| crate::format::rows::push(&mut covered, range.clone()));
            let mut all = Vec::new();
            wanted.iter().for_each(|range| crate::format::rows::push(&mut all, range.clone()));
            assert_eq!(covered, all, "round {round}");
        }
    }

    #[test]
    fn what_is_wrong_says_where() {
        let bytes = [&b"{\"n\": 1}\n"[..], b"{\"n\": 1.5}\n", &[b'x'; 2000], b"\n{\"n\":"].concat();
        let bad = |span_bytes| {
            let object = object(&bytes, Compression::None, span_bytes);
            let mut bad = Vec::new();
            for unit in object.units() {
                let (schema, ranges) = (object.format.schema.clone(), Arc::new(Bytes::copy_from_slice(&bytes)));
                let rows = Rows::new(vec![unit.rows.clone()]);
                let size = BlockSize { rows_max: 10, bytes_max: 100, window_bytes: 100, page_bytes_max: 0 };
                let mut reader = object.read(Wanted { unit: &unit, schema, rows, size, ranges });
                while let Some(read) = reader.next().unwrap() {
                    bad.extend(
                        read.bad.into_iter().map(|bad| (object.numbering().row(bad.row), bad.message, bad.hint)),
                    );
                }
            }
            bad
        };
        let told = bad(SPAN_BYTES);
        let places: Vec<&str> = told.iter().map(|(row, ..)| row.as_str()).collect();
        assert_eq!(places, ["line 2", "line 3", "line 4"]);
        assert_eq!(told[0].1, "`n`: `1.5` is no int64: it has a fraction");
        assert_eq!(told[1].1, "the line has 2000 bytes, and record_bytes_max is 1000");
        assert_eq!((told[2].1.as_str(), told[2].2), ("`n`: the line ends within its object", UNENDED));
        assert_eq!(bad(12)[1].0, "line 1 from byte 12");
        assert_eq!(bad(12)[1].1, "the line has 2000 bytes, and record_bytes_max is 1000; the line begins at byte 20");
    }

    #[test]
    fn columns_are_read_as_they_are_wanted() {
        let fields =
            [("a", "int64"), ("b", "string"), ("c", "json")].map(|(name, text)| types::field(name, text).unwrap());
        let schema = Arc::new(Schema::new(fields.to_vec()));
        let format = JsonLines::new(&schema, ExtraKeys::Keep, 1000).unwrap();
        let bytes = Bytes::from_static(b"{\"a\": 1, \"b\": \"x\", \"c\": [1], \"d\": 2}\n{}\n");
        let object = Object { format, compression: Compression::None, size: bytes.len() as u64 };
        let read = |names: &[&str]| {
            let all = &object.format.schema;
            let places: Vec<usize> = names.iter().map(|name| all.index_of(name).unwrap()).collect();
            let schema = Arc::new(all.project(&places).unwrap());
            let (unit, ranges) = (&object.units()[0], Arc::new(bytes.clone()));
            let size = BlockSize { rows_max: 10, bytes_max: 1000, window_bytes: 100, page_bytes_max: 0 };
            let rows = Rows::new(vec![unit.rows.clone()]);
            let mut reader = object.read(Wanted { unit, schema: Arc::clone(&schema), rows, size, ranges });
            let batch = reader.next().unwrap().unwrap().batch;
            assert_eq!((batch.schema(), batch.num_rows()), (schema, 2));
            batch
        };
        let batch = read(&["c", "_extra", "a"]);
        let texts = |column: usize| batch.column(column).as_string::<i32>();
        assert_eq!((texts(0).value(0), texts(1).value(0)), ("[1]", "{\"d\":2}"));
        assert!(batch.columns().iter().all(|column| column.is_null(1)));
        assert_eq!(read(&["b"]).column(0).as_string::<i32>().value(0), "x");
        assert_eq!(read(&[]).num_columns(), 0);
    }
}
