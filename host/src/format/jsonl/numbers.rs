//! The text of a number becomes a value of its type without loss, or is refused. Whole numbers and decimals never go through
//! a float.
//!
//! A whole number may be spelt `12.0` or `1.2e1`: its value counts. A float takes the nearest value to what has a fraction or an
//! exponent, as everywhere; but no whole number that it would change, no number that becomes infinite and none but zero that
//! becomes zero.

use arrow::datatypes::i256;

use super::cursor::Number;
use super::refusal::Loss;

/// No whole number of ours has more digits.
const INTEGER_DIGITS_MAX: usize = 38;
/// An exponent beyond it is as good as this one.
const EXPONENT_MAX: i64 = 1 << 40;

/// A number as sign, digits without zeros at either end, and a power of ten.
struct Parts {
    is_negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

/// The value of a whole number.
pub(super) fn integer(number: Number<'_>) -> Result<i128, Loss> {
    if number.is_whole && number.text.len() <= INTEGER_DIGITS_MAX {
        return number.text.parse().map_err(|_| Loss::Range);
    }
    let digits = shifted(&Parts::of(number), 0, INTEGER_DIGITS_MAX);
    let digits = digits.map_err(|loss| if loss == Loss::Digits { Loss::Fraction } else { loss })?;
    digits.parse().map_err(|_| Loss::Range)
}

/// A decimal's value times ten to its scale.
pub(super) fn decimal128(number: Number<'_>, precision: u8, scale: i8) -> Result<i128, Loss> {
    shifted(&Parts::of(number), scale, precision.into())?.parse().map_err(|_| Loss::Range)
}

/// The same of a wide one.
pub(super) fn decimal256(number: Number<'_>, precision: u8, scale: i8) -> Result<i256, Loss> {
    i256::from_string(&shifted(&Parts::of(number), scale, precision.into())?).ok_or(Loss::Range)
}

/// The nearest float, if it is near.
pub(super) fn float64(number: Number<'_>) -> Result<f64, Loss> {
    let float: f64 = number.text.parse().map_err(|_| Loss::Range)?;
    is_near(number, float.is_infinite(), float == 0.0)?;
    is_same(number, float, 9_007_199_254_740_992.0)?;
    Ok(float)
}

/// The same of a narrow one.
pub(super) fn float32(number: Number<'_>) -> Result<f32, Loss> {
    let float: f32 = number.text.parse().map_err(|_| Loss::Range)?;
    is_near(number, float.is_infinite(), float == 0.0)?;
    is_same(number, float.into(), 16_777_216.0)?;
    Ok(float)
}

/// A whole number is the float. Below `all_below` every one is.
fn is_same(number: Number<'_>, float: f64, all_below: f64) -> Result<(), Loss> {
    let is_it = !number.is_whole || float.abs() < all_below || format!("{float:.0}") == number.text;
    if is_it { Ok(()) } else { Err(Loss::Rounded) }
}

fn is_near(number: Number<'_>, is_infinite: bool, is_zero: bool) -> Result<(), Loss> {
    let is_lost = is_infinite || is_zero && !Parts::of(number).digits.is_empty();
    if is_lost { Err(Loss::Range) } else { Ok(()) }
}

/// The digits of the number times ten to `scale`, with a sign, as a whole number of at most `digits_max` digits.
fn shifted(parts: &Parts, scale: i8, digits_max: usize) -> Result<String, Loss> {
    if parts.digits.is_empty() {
        return Ok("0".into());
    }
    let zeros = usize::try_from(parts.exponent + i64::from(scale)).map_err(|_| Loss::Digits)?;
    if parts.digits.len().saturating_add(zeros) > digits_max {
        return Err(Loss::Range);
    }
    let sign = if parts.is_negative { "-" } else { "" };
    Ok(format!("{sign}{}{}", String::from_utf8_lossy(&parts.digits), "0".repeat(zeros)))
}

impl Parts {
    fn of(number: Number<'_>) -> Parts {
        let (mantissa, exponent) = number.text.split_once(['e', 'E']).unwrap_or((number.text, "0"));
        let unsigned = mantissa.strip_prefix('-');
        let (whole, fraction) =
            unsigned.unwrap_or(mantissa).split_once('.').unwrap_or((unsigned.unwrap_or(mantissa), ""));
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).skip_while(|digit| *digit == b'0').collect();
        let all = digits.len();
        digits.truncate(digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1));
        let zeros = all - digits.len();
        let exponent = bounded(exponent) - fraction.len() as i64 + zeros as i64;
        Parts { is_negative: unsigned.is_some(), digits, exponent }
    }
}

/// An exponent, which may have more digits than any number.
fn bounded(exponent: &str) -> i64 {
    let (is_negative, digits) = match exponent.as_bytes().first() {
        Some(b'-') => (true, &exponent[1..]),
        Some(b'+') => (false, &exponent[1..]),
        _ => (false, exponent),
    };
    let size = digits.bytes().fold(0, |size: i64, digit| (size * 10 + i64::from(digit - b'0')).min(EXPONENT_MAX));
    if is_negative { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number<'_> {
        Number { text, is_whole: !text.contains(['.', 'e', 'E']) }
    }

    #[test]
    fn whole_numbers_are_exact_however_they_are_spelt() {
        let good = [
            ("0", 0),
            ("-0", 0),
            ("-0.0e-7", 0),
            ("9007199254740993.0", 9_007_199_254_740_993),
            ("9223372036854775808", 9_223_372_036_854_775_808),
            ("1.50e1", 15),
            ("1200e-2", 12),
            ("0e99999999999999999999999999", 0),
            ("99999999999999999999999999999999999999", 99_999_999_999_999_999_999_999_999_999_999_999_999),
        ];
        for (text, value) in good {
            assert_eq!(integer(number(text)), Ok(value), "{text}");
        }
        let bad = [
            ("1.5", Loss::Fraction),
            ("1e-1", Loss::Fraction),
            ("0.00000000000000000000000000000000000000000001", Loss::Fraction),
            ("1e39", Loss::Range),
            ("1e99999999999999999999999999", Loss::Range),
            ("1e-99999999999999999999999999", Loss::Fraction),
        ];
        for (text, loss) in bad {
            assert_eq!(integer(number(text)), Err(loss), "{text}");
        }
    }

    #[test]
    fn decimals_are_exact() {
        let good =
            [("12.5", 12, 2, 1250), ("-0.010", 12, 2, -1), ("1e3", 4, 0, 1000), ("12e2", 3, -2, 12), ("0", 1, 1, 0)];
        for (text, precision, scale, value) in good {
            assert_eq!(decimal128(number(text), precision, scale), Ok(value), "{text}");
            assert_eq!(decimal256(number(text), precision, scale), Ok(i256::from_i128(value)), "{text}");
        }
        let bad = [("1.239", 38, 2, Loss::Digits), ("123.4", 4, 2, Loss::Range), ("150", 3, -2, Loss::Digits)];
        for (text, precision, scale, loss) in bad {
            assert_eq!(decimal128(number(text), precision, scale), Err(loss), "{text}");
        }
        let wide = "9".repeat(76);
        assert_eq!(decimal256(number(&wide), 76, 0).unwrap().to_string(), wide);
        assert_eq!(decimal256(number(&format!("-{wide}")), 76, 0).unwrap().to_string(), format!("-{wide}"));
    }

    #[test]
    fn floats_change_no_whole_number() {
        for text in ["0", "-0", "-0.0", "1.5", "0.1", "9007199254740992", "-18014398509481984", "1e308", "5e-324"] {
            assert_eq!(float64(number(text)).map(f64::to_bits), Ok(text.parse::<f64>().unwrap().to_bits()), "{text}");
        }
        for (text, loss) in [
            ("9007199254740993", Loss::Rounded),
            ("-9007199254740993", Loss::Rounded),
            ("1e999", Loss::Range),
            ("-1e999", Loss::Range),
            ("1e-999", Loss::Range),
        ] {
            assert_eq!(float64(number(text)), Err(loss), "{text}");
        }
        assert_eq!(float32(number("16777216")), Ok(16_777_216.0));
        assert_eq!(float32(number("16777217")), Err(Loss::Rounded));
        assert_eq!(float32(number("1e39")), Err(Loss::Range));
        assert_eq!(float32(number("0.1")), Ok(0.1));
    }
}
