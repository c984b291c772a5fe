//! Batches become lines: one object a row, keys in the order of the columns, no white space.
//!
//! Every value comes back as it was: whole numbers and decimals digit by digit, floats in the shortest text that is read as
//! the same float, instants, dates and times as RFC 3339 spells them, bytes in base64, `json` as its text stands. A value
//! that has no such text (a float that is not finite, a `json` column's text that is no JSON) refuses its row, not the batch.

use arrow::array::{RecordBatch, new_empty_array};
use arrow::datatypes::Schema;

use super::cells::{Objects, cells};
use super::cursor::plain_bytes;
use super::decode::SchemaError;
use super::refusal::Refusal;
use super::types;

/// What is written for null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Nulls {
    /// `"key":null`
    #[default]
    Written,
    /// The key is left out. In lists and maps nulls stand, since they are data there.
    LeftOut,
}

/// Whether batches of a schema can be written.
pub fn check(schema: &Schema) -> Result<(), SchemaError> {
    if let Some(column) = types::duplicate(schema.fields()) {
        return Err(SchemaError::Duplicate { column });
    }
    let is_odd = |data_type| cells(&new_empty_array(data_type), false, Nulls::Written).is_none();
    let odd = schema.fields().iter().find(|field| is_odd(field.data_type()));
    odd.map_or(Ok(()), |field| {
        Err(SchemaError::Type { column: field.name().clone(), data_type: field.data_type().to_string() })
    })
}

/// Writes the rows of a batch as lines behind what is in `out`. Rows that have no text are left out, and given with why.
///
/// ```
/// use std::sync::Arc;
///
/// use arrow::array::{Float64Array, RecordBatch};
/// use wasmpipe::format::jsonl::encode::{Nulls, encode};
///
/// let values = Float64Array::from(vec![Some(0.1), Some(f64::NAN), None]);
/// let batch = RecordBatch::try_from_iter_with_nullable([("x", Arc::new(values) as _, true)])?;
/// let mut out = Vec::new();
/// let refused = encode(&batch, Nulls::Written, &mut out);
/// assert_eq!(out, b"{\"x\":0.1}\n{\"x\":null}\n");
/// assert_eq!(refused[0].0, 1);
/// assert_eq!(refused[0].1.to_string(), "`x`: NaN has no spelling in JSON");
/// # Ok::<(), arrow::error::ArrowError>(())
/// ```
///
/// # Panics
/// If [`check`] refuses the schema.
pub fn encode(batch: &RecordBatch, nulls: Nulls, out: &mut Vec<u8>) -> Vec<(usize, Refusal)> {
    let schema = batch.schema_ref();
    let rows = Objects::new(schema.fields(), batch.columns(), nulls).expect("a schema is checked before it is written");
    let mut refused = Vec::new();
    for row in 0..batch.num_rows() {
        let start = out.len();
        match rows.write(row, out) {
            Ok(()) => out.push(b'\n'),
            Err(refusal) => {
                out.truncate(start);
                refused.push((row, refusal));
            }
        }
    }
    refused
}

/// Writes a string with its quotes. Line and paragraph separators are escaped too: JSON does not ask for it, but there are
/// readers that take them for the ends of lines.
pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    let has_separator = separator(rest).is_some();
    loop {
        let (plain, odd) = rest.split_at(plain_bytes(rest));
        match has_separator {
            true => write_plain(out, plain),
            false => out.extend_from_slice(plain),
        }
        let Some((&byte, behind)) = odd.split_first() else { break };
        write_escape(out, byte);
        rest = behind;
    }
    out.push(b'"');
}

/// Writes what needs no escape by JSON.
fn write_plain(out: &mut Vec<u8>, mut plain: &[u8]) {
    while let Some(at) = separator(plain) {
        out.extend_from_slice(&plain[..at]);
        out.extend_from_slice(if plain[at + 2] == 0xA8 { b"\\u2028" } else { b"\\u2029" });
        plain = &plain[at + 3..];
    }
    out.extend_from_slice(plain);
}

/// Where U+2028 or U+2029 stands: E2 80 A8, E2 80 A9.
fn separator(text: &[u8]) -> Option<usize> {
    let mut candidates = memchr::memchr_iter(0xE2, text);
    candidates.find(|&at| matches!(text[at..], [_, 0x80, 0xA8 | 0xA9, ..]))
}

fn write_escape(out: &mut Vec<u8>, byte: u8) {
    let letter = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\t' => b't',
        b'\r' => b'r',
        0x08 => b'b',
        0x0C => b'f',
        _ => {
            let hex = |digit: u8| char::from_digit(digit.into(), 16).map_or(b'0', |digit| digit as u8);
            return out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)]);
        }
    };
    out.extend_from_slice(&[b'\\', letter]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        write_string(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_escaped_where_they_must_be() {
        assert_eq!(written(""), "\"\"");
        assert_eq!(written("a\"b\\c/\u{7f}é"), "\"a\\\"b\\\\c/\u{7f}é\"");
        assert_eq!(written("\n\t\r\u{8}\u{c}\u{0}\u{1f}"), "\"\\n\\t\\r\\b\\f\\u0000\\u001f\"");
        assert_eq!(written("a\u{2028}“\u{2029}…\u{2028}"), "\"a\\u2028“\\u2029…\\u2028\"");
        assert_eq!(written("\u{2028}\n\u{1F600}"), "\"\\u2028\\n\u{1F600}\"");
    }

    #[test]
    fn any_string_is_read_by_serde_json_as_it_was() {
        let every: String = ('\0'..=char::MAX).step_by(7).collect();
        let all_low: String = ('\0'..'\u{3000}').collect();
        for text in [every, all_low] {
            assert_eq!(serde_json::from_str::<String>(&written(&text)).unwrap(), text);
        }
    }
}
