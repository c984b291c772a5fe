//! A text becomes exactly one value of an id's type, or none. What would lose anything is none: digits beyond the type's, an
//! instant without its zone, a number that is spelt as a fraction.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::util::display::FormatOptions;

use crate::columns;

/// Whether texts can be ids of this type.
pub(super) fn can_be(data_type: &DataType) -> bool {
    !matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_))
}

/// How such ids are spelt, for messages.
pub(super) fn spelling(data_type: &DataType) -> &'static str {
    use DataType::*;
    match data_type {
        Boolean => "`true` or `false`",
        Date32 | Date64 => "spelt as `2024-12-31`",
        Time32(_) | Time64(_) => "spelt as `23:59:59.5`, with no more digits than the type has",
        Timestamp(_, Some(_)) => "spelt as `2024-12-31T23:59:59.5Z`, with a zone and no more digits than the type has",
        Timestamp(_, None) => {
            "spelt as `2024-12-31T23:59:59.5`, without a zone and with no more digits than the type has"
        }
        Decimal32(..) | Decimal64(..) | Decimal128(..) | Decimal256(..) => {
            "spelt as `-12.50`, with no more digits than the type has"
        }
        _ => "whole numbers in the range of the type, spelt as `-12`",
    }
}

/// The values, or the place of the first text that is none.
pub(super) fn parse(texts: StringArray, to: &DataType) -> Result<ArrayRef, usize> {
    let is_one = |row: &usize| is_exact(texts.value(*row), to);
    let odd = (0..texts.len()).find(|row| !is_one(row));
    let texts: ArrayRef = Arc::new(texts);
    let options = CastOptions { safe: true, format_options: FormatOptions::default() };
    let values = cast_with_options(&texts, &in_utc(to), &options).and_then(|values| columns::convert(&values, to));
    let values = values.map_err(|_| odd.unwrap_or(0))?;
    let none = (0..values.len()).find(|&row| values.is_null(row));
    match [odd, none].into_iter().flatten().min() {
        Some(row) => Err(row),
        None => Ok(values),
    }
}

/// Nobody here knows the rules of named zones; an instant is the same in all.
fn in_utc(to: &DataType) -> DataType {
    match to {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("+00:00".into())),
        other => other.clone(),
    }
}

/// Whether the text has the one spelling that the type is read from, so that the conversion rounds nothing. That its value is
/// in range is seen by the conversion.
fn is_exact(text: &str, to: &DataType) -> bool {
    use DataType::*;
    match to {
        Utf8 | LargeUtf8 => true,
        Boolean => matches!(text, "true" | "false"),
        Decimal32(_, scale) | Decimal64(_, scale) | Decimal128(_, scale) | Decimal256(_, scale) => {
            is_decimal(text, *scale)
        }
        Date32 | Date64 => is_date(text),
        Time32(unit) | Time64(unit) => is_time(text, *unit),
        Timestamp(unit, zone) => is_instant(text, *unit, zone.is_some()),
        integer => integer.is_integer() && is_digits(text.strip_prefix('-').unwrap_or(text)),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_decimal(text: &str, scale: i8) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let needed = fraction.trim_end_matches('0').len();
    is_digits(whole) && is_digits(fraction) && usize::try_from(scale).is_ok_and(|scale| needed <= scale)
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    matches!(parts[..], [y, m, d] if y.len() == 4 && m.len() == 2 && d.len() == 2 && parts.iter().all(|part| is_digits(part)))
}

fn is_time(text: &str, unit: TimeUnit) -> bool {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let parts: Vec<&str> = clock.split(':').collect();
    let is_clock =
        matches!(parts[..], [_, _, s] if s < "60") && parts.iter().all(|part| part.len() == 2 && is_digits(part));
    let digits = match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    };
    is_clock && is_digits(fraction) && fraction.trim_end_matches('0').len() <= digits
}

fn is_instant(text: &str, unit: TimeUnit, has_zone: bool) -> bool {
    let Some((date, rest)) = text.split_once(['T', ' ']) else { return false };
    let zone = rest.find(['Z', '+', '-']);
    let time = &rest[..zone.unwrap_or(rest.len())];
    zone.is_some() == has_zone && is_date(date) && is_time(time, unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, to: &DataType) -> Option<String> {
        let values = parse(StringArray::from(vec![text]), to).ok()?;
        Some(columns::text(values.as_ref(), 0, "null"))
    }

    #[test]
    fn texts_become_values_or_nothing() {
        use DataType::*;
        let zoned = |unit, zone: &str| Timestamp(unit, Some(zone.into()));
        let good = [
            (Int64, "-9223372036854775808", "-9223372036854775808"),
            (UInt64, "18446744073709551615", "18446744073709551615"),
            (Utf8, " a\u{0}é ", " a\u{0}é "),
            (LargeUtf8, "x", "x"),
            (Boolean, "true", "true"),
            (Decimal128(10, 2), "-12.500", "-12.50"),
            (Decimal128(38, 0), "12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
            (Date32, "2024-02-29", "2024-02-29"),
            (Time64(TimeUnit::Microsecond), "23:59:59.000001", "23:59:59.000001"),
            (Timestamp(TimeUnit::Millisecond, None), "2024-02-29 01:02:03.5", "2024-02-29T01:02:03.500"),
            (Timestamp(TimeUnit::Nanosecond, None), "2024-02-29T01:02:03.123456789", "2024-02-29T01:02:03.123456789"),
            (zoned(TimeUnit::Second, "Europe/Berlin"), "2024-02-29T01:02:03+01:00", "2024-02-29T00:02:03Z"),
            (zoned(TimeUnit::Second, "UTC"), "2024-02-29T01:02:03Z", "2024-02-29T01:02:03Z"),
        ];
        for (to, text, value) in good {
            assert_eq!(read(text, &to).as_deref(), Some(value), "{text:?} as {to}");
        }
    }

    #[test]
    fn what_would_lose_anything_is_nothing() {
        use DataType::*;
        let zoned = Timestamp(TimeUnit::Second, Some("UTC".into()));
        let bad = [
            (Int64, vec!["", " 1", "1 ", "+1", "1.0", "1e3", "0x1", "9223372036854775808", "١", "NaN"]),
            (UInt8, vec!["-1", "256"]),
            (Boolean, vec!["", "1", "TRUE", "yes"]),
            (Decimal128(4, 2), vec!["", "1.234", "123.4", "1e1", ".5", "5.", "-", "1_0"]),
            (Date32, vec!["2024-2-29", "2023-02-29", "2024-02-29T00:00:00", "20240229"]),
            (Time32(TimeUnit::Second), vec!["1:2:3", "23:59:59.5", "24:00:00", "23:59:60", "01:00"]),
            (Timestamp(TimeUnit::Second, None), vec!["2024-02-29", "2024-02-29T00:00:00Z", "2024-02-29T00:00:00.5"]),
            (zoned, vec!["2024-02-29T00:00:00", "2024-02-29T00:00:00 Europe/Berlin", "2024-02-30T00:00:00Z"]),
            (Timestamp(TimeUnit::Nanosecond, None), vec!["3000-01-01T00:00:00"]),
        ];
        for (to, texts) in bad {
            for text in texts {
                assert_eq!(read(text, &to), None, "{text:?} as {to}");
            }
        }
    }

    #[test]
    fn the_first_text_that_is_none_is_named() {
        assert_eq!(parse(StringArray::from(vec!["1", "2", "x", "300", "y"]), &DataType::UInt8), Err(2));
        assert_eq!(parse(StringArray::from(vec!["1", "300", "x"]), &DataType::UInt8), Err(1));
    }
}
