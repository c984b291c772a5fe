//! The ids of a CSV file with a header, or of a JSON Lines file with an object on each line, read as a stream.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, StringBuilder};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde_json::{Map, Value};
use tokio::runtime::Handle;

use super::lists::List;
use super::{Each, ExchangeError, Wanted, null, text};

/// Ids that are converted together.
const CHUNK_ROWS: usize = 16 * 1024;
/// Bytes of one line of JSON.
const LINE_BYTES_MAX: u64 = 64 << 20;
const MARK: &[u8] = b"\xEF\xBB\xBF";

/// Gives `each` the ids of a CSV file.
pub(super) fn read_csv(list: &List, wanted: &Wanted, runtime: &Handle, each: Each<'_>) -> Result<(), ExchangeError> {
    refuse_types(list, wanted)?;
    let mut reader = csv::Reader::from_reader(ObjectReader::open(list, runtime)?);
    let unreadable = |error| bad_csv(list, error);
    let places = places(list, wanted, reader.headers().map_err(unreadable)?)?;
    let mut chunk = Chunk::new(list, wanted);
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(unreadable)? {
        let line = record.position().map_or(0, csv::Position::line);
        for (column, &place) in places.iter().enumerate() {
            // An empty cell may be an empty text, or nothing: this format cannot tell.
            let cell = record.get(place).filter(|cell| !cell.is_empty());
            chunk.push(column, cell.ok_or_else(|| empty(list, line, &wanted.names[column]))?);
        }
        chunk.end_row(line, each)?;
    }
    chunk.flush(each)
}

fn places(list: &List, wanted: &Wanted, headers: &csv::StringRecord) -> Result<Vec<usize>, ExchangeError> {
    let place = |name: &String| {
        let mut places = headers.iter().enumerate().filter(|(_, header)| header == name).map(|(place, _)| place);
        match (places.next(), places.next()) {
            (Some(place), None) => Ok(place),
            (Some(_), Some(_)) => Err(ExchangeError::refused(
                format!("{}: several columns have the name `{name}`", list.name()),
                "nothing was imported; give each column a name of its own",
            )),
            (None, _) => {
                let headers = headers.iter().take(20).collect::<Vec<_>>().join(", ");
                Err(ExchangeError::refused(
                    format!("{}: there is no column `{name}`; its first line has: {headers}", list.name()),
                    "nothing was imported; the first line must name the columns: put it there if it is missing, or say with --column how the id columns are called",
                ))
            }
        }
    };
    wanted.names.iter().map(place).collect()
}

fn empty(list: &List, line: u64, column: &str) -> ExchangeError {
    ExchangeError::refused(
        format!("{}, line {line}: `{column}` is empty, which may be an empty text or no id at all", list.name()),
        "nothing was imported; take the row out, or use .jsonl or .parquet, which can tell",
    )
}

fn bad_csv(list: &List, error: csv::Error) -> ExchangeError {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => from_io(list, error),
        kind => bad_csv_line(list, &kind),
    }
}

fn bad_csv_line(list: &List, kind: &csv::ErrorKind) -> ExchangeError {
    let line = |position: &Option<csv::Position>| position.as_ref().map(csv::Position::line);
    match kind {
        csv::ErrorKind::Utf8 { pos, .. } => bad_line(list, line(pos), "it is not UTF-8".into()),
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            bad_line(list, line(pos), format!("it has {len} cells, the first line has {expected_len}"))
        }
        other => bad_line(list, None, format!("{other:?}")),
    }
}

/// Gives `each` the ids of a JSON Lines file.
pub(super) fn read_json(list: &List, wanted: &Wanted, runtime: &Handle, each: Each<'_>) -> Result<(), ExchangeError> {
    refuse_types(list, wanted)?;
    let mut reader = BufReader::new(ObjectReader::open(list, runtime)?);
    let mut chunk = Chunk::new(list, wanted);
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let read =
            (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes).map_err(|error| from_io(list, error))?;
        if read == 0 {
            break;
        }
        if read as u64 == LINE_BYTES_MAX {
            return Err(bad_line(list, Some(line), format!("it is longer than {} MiB", LINE_BYTES_MAX >> 20)));
        }
        let text = if line == 1 { bytes.strip_prefix(MARK).unwrap_or(&bytes) } else { &bytes };
        if !text.trim_ascii().is_empty() {
            json_row(list, wanted, line, text, &mut chunk)?;
            chunk.end_row(line, each)?;
        }
    }
    chunk.flush(each)
}

fn json_row(list: &List, wanted: &Wanted, line: u64, text: &[u8], chunk: &mut Chunk<'_>) -> Result<(), ExchangeError> {
    let object: Map<String, Value> = serde_json::from_slice(text)
        .map_err(|error| bad_line(list, Some(line), format!("it is no JSON object: {error}")))?;
    for (column, (name, field)) in wanted.names.iter().zip(wanted.schema.fields()).enumerate() {
        let is_number = field.data_type().is_numeric();
        let is_text = !is_number && *field.data_type() != arrow::datatypes::DataType::Boolean;
        match object.get(name) {
            None => return Err(bad_line(list, Some(line), format!("there is no `{name}`"))),
            Some(Value::Null) => return Err(null(format_args!("{}, line {line}", list.name()), name)),
            Some(Value::String(value)) => chunk.push(column, value),
            Some(Value::Bool(value)) if !is_text && !is_number => chunk.push(column, &value.to_string()),
            // Beyond 64 bits or with a fraction it is only nearly what stands there.
            Some(Value::Number(value)) if is_number && !value.is_f64() => chunk.push(column, &value.to_string()),
            Some(other) => {
                let is = format!("`{name}` is {other}, the job has it as {}", field.data_type());
                let hint = "nothing was imported; give ids of other types, and numbers beyond 64 bits, as strings";
                return Err(ExchangeError::refused(format!("{}, line {line}: {is}", list.name()), hint));
            }
        }
    }
    Ok(())
}

fn bad_line(list: &List, line: Option<u64>, message: String) -> ExchangeError {
    let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
    ExchangeError::refused(
        format!("{}{line}: {message}", list.name()),
        "nothing was imported; repair the file, or take the line out",
    )
}

fn refuse_types(list: &List, wanted: &Wanted) -> Result<(), ExchangeError> {
    let Some(field) = wanted.schema.fields().iter().find(|field| !text::can_be(field.data_type())) else {
        return Ok(());
    };
    Err(ExchangeError::refused(
        format!("{}: the id column `{}` is {}, which no text spells", list.name(), field.name(), field.data_type()),
        "import such ids from Parquet files",
    ))
}

/// Texts of some rows, and the lines where they stand.
struct Chunk<'a> {
    list: &'a List,
    wanted: &'a Wanted,
    texts: Vec<StringBuilder>,
    lines: Vec<u64>,
}

impl<'a> Chunk<'a> {
    fn new(list: &'a List, wanted: &'a Wanted) -> Chunk<'a> {
        let texts = wanted.names.iter().map(|_| StringBuilder::new()).collect();
        Chunk { list, wanted, texts, lines: Vec::new() }
    }

    fn push(&mut self, column: usize, text: &str) {
        self.texts[column].append_value(text);
    }

    fn end_row(&mut self, line: u64, each: Each<'_>) -> Result<(), ExchangeError> {
        self.lines.push(line);
        if self.lines.len() < CHUNK_ROWS { Ok(()) } else { self.flush(each) }
    }

    fn flush(&mut self, each: Each<'_>) -> Result<(), ExchangeError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let texts: Vec<StringArray> = self.texts.iter_mut().map(StringBuilder::finish).collect();
        let columns: Vec<ArrayRef> = texts
            .into_iter()
            .enumerate()
            .map(|(column, texts)| self.values(column, texts))
            .collect::<Result<_, _>>()?;
        self.lines.clear();
        let ids =
            RecordBatch::try_new(Arc::clone(&self.wanted.schema), columns).expect("types as in the schema, no nulls");
        each(ids)
    }

    fn values(&self, column: usize, texts: StringArray) -> Result<ArrayRef, ExchangeError> {
        let (name, to) = (&self.wanted.names[column], self.wanted.schema.field(column).data_type());
        text::parse(texts.clone(), to).map_err(|row| {
            let (file, line, is) = (self.list.name(), self.lines[row], texts.value(row));
            let hint = format!("nothing was imported; such ids are {}", text::spelling(to));
            ExchangeError::refused(format!("{file}, line {line}: `{name}` is `{is}`, the job has it as {to}"), &hint)
        })
    }
}

/// An object's bytes as they come.
struct ObjectReader<'a> {
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    rest: Bytes,
    runtime: &'a Handle,
}

impl<'a> ObjectReader<'a> {
    fn open(list: &List, runtime: &'a Handle) -> Result<ObjectReader<'a>, ExchangeError> {
        let path = Path::parse(list.object.path.as_ref()).map_err(object_store::Error::from);
        let got = path.and_then(|path| runtime.block_on(list.store.objects().get(&path)));
        let got = got.map_err(|cause| ExchangeError::Store { file: list.name().into(), cause })?;
        Ok(ObjectReader { stream: got.into_stream(), rest: Bytes::new(), runtime })
    }
}

impl Read for ObjectReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.rest.is_empty() {
            match self.runtime.block_on(self.stream.next()) {
                None => return Ok(0),
                Some(bytes) => self.rest = bytes.map_err(std::io::Error::other)?,
            }
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

fn from_io(list: &List, error: std::io::Error) -> ExchangeError {
    let other = |error| object_store::Error::Generic { store: "import", source: Box::new(error) };
    let cause = error.downcast::<object_store::Error>().unwrap_or_else(other);
    ExchangeError::Store { file: list.name().into(), cause }
}
