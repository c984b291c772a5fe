//! Phone numbers, which have no check digit: only forms that nothing else has.
//!
//! * International (ITU-T E.164): `+`, then 8 to 15 digits, with blanks, dots, hyphens, slashes and brackets between.
//! * North American (NANP): `(212) 555-0123`, `212-555-0123`, `212.555.0123`, `1-212-555-0123`; area code and exchange
//!   begin with 2 to 9.

use std::ops::Range;

use crate::is_border;

const DIGITS_MIN: usize = 8;
const DIGITS_MAX: usize = 15;
/// Between two digits: `) ` or ` (`.
const SEPARATORS_MAX: usize = 2;

/// The number that begins at `at`, with `+`, `(` or a digit.
pub(crate) fn at(text: &[u8], at: usize) -> Option<Range<usize>> {
    if !is_border(at.checked_sub(1).and_then(|before| text.get(before))) {
        return None;
    }
    let length = match text[at] {
        b'+' => international(&text[at..]),
        _ => north_american(&text[at..], at.checked_sub(1).map(|before| text[before])),
    }?;
    ends_at(text, at + length).then(|| at..at + length)
}

fn ends_at(text: &[u8], end: usize) -> bool {
    let next = text.get(end);
    is_border(next) && next != Some(&b'@')
}

/// How long the number is, with its `+`.
fn international(text: &[u8]) -> Option<usize> {
    let first = text.get(1)?;
    if !first.is_ascii_digit() || *first == b'0' {
        return None;
    }
    let (mut digits, mut end, mut at) = (0, 0, 1);
    while let Some(byte) = text.get(at)
        && digits <= DIGITS_MAX
    {
        if byte.is_ascii_digit() {
            digits += 1;
            end = at + 1;
        } else if !b" .-/()".contains(byte) || at - end >= SEPARATORS_MAX {
            break;
        }
        at += 1;
    }
    (DIGITS_MIN..=DIGITS_MAX).contains(&digits).then_some(end)
}

/// How long the number is.
fn north_american(text: &[u8], before: Option<u8>) -> Option<usize> {
    // The last groups of a longer number, or of a date, are no phone number.
    if before.is_some_and(|before| b".-/".contains(&before)) {
        return None;
    }
    let country = if text.starts_with(b"1-") || text.starts_with(b"1 ") || text.starts_with(b"1.") { 2 } else { 0 };
    let national = &text[country..];
    let length = if national.starts_with(b"(") { bracketed(national)? } else { plain(national)? };
    let end = country + length;
    let goes_on = text.get(end).is_some_and(|byte| b".-/".contains(byte)) && is_digit(text, end + 1);
    (!goes_on).then_some(end)
}

/// `(212) 555-0123`
fn bracketed(text: &[u8]) -> Option<usize> {
    is_group(text, 1, 3, true).then_some(())?;
    (text.get(4) == Some(&b')')).then_some(())?;
    let exchange = if text.get(5) == Some(&b' ') { 6 } else { 5 };
    let is_rest = is_group(text, exchange, 3, true)
        && text.get(exchange + 3).is_some_and(|byte| b"-. ".contains(byte))
        && is_group(text, exchange + 4, 4, false);
    is_rest.then_some(exchange + 8)
}

/// `212-555-0123`, with the same separator twice; a blank is none, or every table of numbers would be phones.
fn plain(text: &[u8]) -> Option<usize> {
    let separator = text.get(3).filter(|byte| b"-.".contains(byte))?;
    let is_phone = is_group(text, 0, 3, true)
        && is_group(text, 4, 3, true)
        && text.get(7) == Some(separator)
        && is_group(text, 8, 4, false);
    is_phone.then_some(12)
}

/// Whether exactly `length` digits stand there, the first of them 2 to 9 if it is the first of a code.
fn is_group(text: &[u8], at: usize, length: usize, is_code: bool) -> bool {
    let digits = (at..at + length).all(|at| is_digit(text, at));
    digits && !is_digit(text, at + length) && !(is_code && text[at] < b'2')
}

fn is_digit(text: &[u8], at: usize) -> bool {
    text.get(at).is_some_and(u8::is_ascii_digit)
}
