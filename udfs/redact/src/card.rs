//! Payment cards: 13 to 19 digits (ISO/IEC 7812-1), in one piece or in groups as they are printed, with the prefix and
//! length of an issuer, and a valid check digit (Luhn, ISO/IEC 7812-1 annex B).

use std::ops::Range;

use crate::is_border;

const DIGITS_MIN: usize = 13;
const DIGITS_MAX: usize = 19;

/// The number that begins with the digit at `at`, where a run of digits begins.
pub(crate) fn at(text: &[u8], at: usize) -> Option<Range<usize>> {
    let before = at.checked_sub(1).map(|before| &text[before]);
    if !is_border(before) || before == Some(&b'.') {
        return None;
    }
    let mut digits = [0; DIGITS_MAX];
    let (mut count, mut group_start, mut index, mut found) = (0, at, at, None);
    loop {
        let byte = text.get(index);
        if let Some(digit) = byte.filter(|byte| byte.is_ascii_digit()) {
            // Too long. What ended before this group may be a card all the same.
            if count == DIGITS_MAX {
                return found;
            }
            digits[count] = digit - b'0';
            count += 1;
        } else {
            found = ends_at(text, index, &digits[..count]).map(|end| at..end).or(found);
            // Printed groups have four to six digits; only a last one may be shorter.
            let is_group = (4..=6).contains(&(index - group_start));
            let goes_on =
                byte.is_some_and(|byte| b" -".contains(byte)) && text.get(index + 1).is_some_and(u8::is_ascii_digit);
            if !(is_group && goes_on) {
                return found;
            }
            group_start = index + 1;
        }
        index += 1;
    }
}

fn ends_at(text: &[u8], end: usize, digits: &[u8]) -> Option<usize> {
    let next = text.get(end);
    let is_end = is_border(next) && next != Some(&b'@');
    (is_end && is_card(digits)).then_some(end)
}

fn is_card(digits: &[u8]) -> bool {
    (DIGITS_MIN..=DIGITS_MAX).contains(&digits.len()) && is_issued(digits) && luhn(digits)
}

/// Whether an issuer's cards have this prefix and length.
fn is_issued(digits: &[u8]) -> bool {
    let prefix = digits[..4].iter().fold(0_u32, |prefix, digit| prefix * 10 + u32::from(*digit));
    let length = digits.len();
    match prefix {
        4000..=4999 => matches!(length, 13 | 16 | 19), // Visa
        5100..=5599 | 2221..=2720 => length == 16,     // Mastercard
        3400..=3499 | 3700..=3799 => length == 15,     // American Express
        3000..=3059 | 3095 | 3600..=3699 | 3800..=3999 => (14..=19).contains(&length), // Diners Club
        6011 | 6440..=6599 => length >= 16,            // Discover
        3528..=3589 => length >= 16,                   // JCB
        6200..=6299 => length >= 16,                   // UnionPay
        5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763 => true, // Maestro
        2200..=2204 => length >= 16,                   // Mir
        _ => false,
    }
}

fn luhn(digits: &[u8]) -> bool {
    let doubled = |digit: u8| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let from_right = digits.iter().rev().enumerate();
    let sum: u32 = from_right.map(|(n, digit)| u32::from(if n % 2 == 1 { doubled(*digit) } else { *digit })).sum();
    sum.is_multiple_of(10)
}
