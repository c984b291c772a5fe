//! Dates, times of day and instants as RFC 3339 spells them, from text and to text, without rounding.
//!
//! Years before 0000 and after 9999 have a sign and as many digits as they need, as ISO 8601 allows where both sides
//! agree: `+10000-01-01`. A fraction is written with 3, 6 or 9 digits, and only if it is not zero. Instants are written in
//! UTC. Read is what is written, and any zone, any number of digits that the type holds, a space or `t` for `T`, `z` for `Z`.

use std::io::Write;

use arrow::datatypes::TimeUnit;

const DAY_SECONDS: i64 = 86_400;
/// Digits of the last year that an instant in seconds reaches.
const YEAR_DIGITS_MAX: usize = 12;

/// Days since 1970-01-01.
pub(super) fn date(text: &str) -> Option<i64> {
    let (days, rest) = date_part(text.as_bytes())?;
    rest.is_empty().then_some(days)
}

/// Units since midnight.
pub(super) fn time(text: &str, unit: TimeUnit) -> Option<i64> {
    let (units, rest) = time_part(text.as_bytes(), unit)?;
    rest.is_empty().then_some(units)
}

/// Units since 1970-01-01T00:00:00, in UTC if it `has_zone`.
pub(super) fn instant(text: &str, unit: TimeUnit, has_zone: bool) -> Option<i64> {
    let (days, rest) = date_part(text.as_bytes())?;
    let (b'T' | b't' | b' ', rest) = rest.split_first().map(|(first, rest)| (*first, rest))? else { return None };
    let (units, zone) = time_part(rest, unit)?;
    let offset = if has_zone { zone_seconds(zone)? } else { zone.is_empty().then_some(0)? };
    let seconds = i128::from(days) * i128::from(DAY_SECONDS) - i128::from(offset);
    i64::try_from(seconds * i128::from(per_second(unit)) + i128::from(units)).ok()
}

/// How many units a second has.
pub(super) fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Writes a date.
pub(super) fn write_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil(days);
    match year {
        0..=9999 => push_digits(out, year, 4),
        _ => write!(out, "{year:+05}").expect("a Vec takes all"),
    }
    out.push(b'-');
    push_digits(out, month, 2);
    out.push(b'-');
    push_digits(out, day, 2);
}

/// Writes a time of day.
pub(super) fn write_time(out: &mut Vec<u8>, units: i64, unit: TimeUnit) {
    let (seconds, fraction) = (units.div_euclid(per_second(unit)), units.rem_euclid(per_second(unit)));
    push_digits(out, seconds / 3600, 2);
    out.push(b':');
    push_digits(out, seconds / 60 % 60, 2);
    out.push(b':');
    push_digits(out, seconds % 60, 2);
    write_fraction(out, fraction * (1_000_000_000 / per_second(unit)));
}

/// Writes an instant, with `Z` if it `has_zone`.
pub(super) fn write_instant(out: &mut Vec<u8>, units: i64, unit: TimeUnit, has_zone: bool) {
    let a_day = DAY_SECONDS * per_second(unit);
    write_date(out, units.div_euclid(a_day));
    out.push(b'T');
    write_time(out, units.rem_euclid(a_day), unit);
    out.extend_from_slice(if has_zone { b"Z" } else { b"" });
}

fn write_fraction(out: &mut Vec<u8>, nanoseconds: i64) {
    let (number, digits) = match nanoseconds {
        0 => return,
        n if n % 1_000_000 == 0 => (n / 1_000_000, 3),
        n if n % 1_000 == 0 => (n / 1_000, 6),
        n => (n, 9),
    };
    out.push(b'.');
    push_digits(out, number, digits);
}

/// Writes the last so many digits of a number that is not negative.
fn push_digits(out: &mut Vec<u8>, number: i64, digits: usize) {
    let start = out.len();
    out.resize(start + digits, b'0');
    let mut rest = number;
    for place in out[start..].iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// A date at the beginning, and what comes behind it.
fn date_part(text: &[u8]) -> Option<(i64, &[u8])> {
    let (year, rest) = match text.first()? {
        sign @ (b'+' | b'-') => signed_year(*sign, &text[1..])?,
        _ => digits(text, 4)?,
    };
    let (month, rest) = digits(rest.strip_prefix(b"-")?, 2)?;
    let (day, rest) = digits(rest.strip_prefix(b"-")?, 2)?;
    let days = days(year, month, day);
    ((1..=12).contains(&month) && civil(days) == (year, month, day)).then_some((days, rest))
}

fn signed_year(sign: u8, text: &[u8]) -> Option<(i64, &[u8])> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (year, rest) = digits(text, Some(count).filter(|count| (4..=YEAR_DIGITS_MAX).contains(count))?)?;
    Some((if sign == b'-' { -year } else { year }, rest))
}

fn time_part(text: &[u8], unit: TimeUnit) -> Option<(i64, &[u8])> {
    let (hours, rest) = digits(text, 2)?;
    let (minutes, rest) = digits(rest.strip_prefix(b":")?, 2)?;
    let (seconds, rest) = digits(rest.strip_prefix(b":")?, 2)?;
    let (fraction, rest) = match rest.strip_prefix(b".") {
        Some(rest) => fraction(rest, unit)?,
        None => (0, rest),
    };
    let is_time = hours < 24 && minutes < 60 && seconds < 60;
    is_time.then_some(((hours * 3600 + minutes * 60 + seconds) * per_second(unit) + fraction, rest))
}

/// Digits behind the point, in units; none if there are more than the unit has.
fn fraction(text: &[u8], unit: TimeUnit) -> Option<(i64, &[u8])> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (all, rest) = text.split_at_checked(count).filter(|_| count > 0)?;
    let (mut units, mut step) = (0, per_second(unit));
    for digit in all {
        step /= 10;
        if step == 0 && *digit != b'0' {
            return None;
        }
        units += step * i64::from(digit - b'0');
    }
    Some((units, rest))
}

/// Seconds that a zone is ahead of UTC.
fn zone_seconds(text: &[u8]) -> Option<i64> {
    let sign = match text {
        b"Z" | b"z" => return Some(0),
        [b'+', ..] => 1,
        [b'-', ..] => -1,
        _ => return None,
    };
    let (hours, rest) = digits(&text[1..], 2)?;
    let (minutes, rest) = digits(rest.strip_prefix(b":")?, 2)?;
    (rest.is_empty() && hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// So many digits as a number, and what comes behind them.
fn digits(text: &[u8], count: usize) -> Option<(i64, &[u8])> {
    let (all, rest) = text.split_at_checked(count)?;
    let number =
        all.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')));
    number.map(|number| (number, rest))
}

/// Days since 1970-01-01 of the Gregorian calendar, whose years are counted from March here: the leap day is the last one.
/// The method is Howard Hinnant's, `days_from_civil`.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The reverse, `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_day_is_read_as_it_is_written() {
        let far = [i64::from(i32::MIN), i64::from(i32::MAX), -719_529, -719_528, 2_932_896, 2_932_897];
        for days in (-800_000..3_000_000).step_by(97).chain(-400..800).chain(far) {
            let text = written(|out| write_date(out, days));
            assert_eq!(date(&text), Some(days), "{text}");
        }
        let known = [(0, "1970-01-01"), (19_782, "2024-02-29"), (-719_528, "0000-01-01"), (2_932_897, "+10000-01-01")];
        for (days, text) in known.into_iter().chain([(-719_529, "-0001-12-31"), (-1, "1969-12-31")]) {
            assert_eq!(written(|out| write_date(out, days)), text);
        }
    }

    #[test]
    fn every_instant_is_read_as_it_is_written() {
        for unit in [Second, Millisecond, Microsecond, Nanosecond] {
            for units in [0, 1, -1, 999, 1_000, 1_700_000_000_123_456_789, i64::MAX, i64::MIN] {
                for has_zone in [false, true] {
                    let text = written(|out| write_instant(out, units, unit, has_zone));
                    assert_eq!(instant(&text, unit, has_zone), Some(units), "{text}");
                    assert_eq!(instant(&text, unit, !has_zone), None, "{text}");
                }
            }
        }
        assert_eq!(written(|out| write_instant(out, -1, Millisecond, true)), "1969-12-31T23:59:59.999Z");
        assert_eq!(
            written(|out| write_instant(out, 1_000_000_001, Nanosecond, false)),
            "1970-01-01T00:00:01.000000001"
        );
        assert_eq!(written(|out| write_time(out, 86_399_000_010, Microsecond)), "23:59:59.000010");
    }

    #[test]
    fn zones_and_spellings() {
        for text in ["2024-02-29T01:02:03+01:00", "2024-02-29 00:02:03z", "2024-02-28t23:32:03.000-00:30"] {
            assert_eq!(instant(text, Second, true), instant("2024-02-29T00:02:03Z", Second, true), "{text}");
        }
        assert_eq!(time("01:02:03.5", Millisecond), Some(3_723_500));
        assert_eq!(time("01:02:03.5000000", Millisecond), Some(3_723_500));
    }

    #[test]
    fn what_is_no_date_or_would_be_rounded_is_none() {
        let dates = "2023-02-29 2024-2-29 20240229 2024-02-30 2024-00-01 2024-13-01 2024-01-00 24-01-01 10000-01-01 +999-01-01 2024-02-29T00:00:00 2024-02-2 ٢024-01-01";
        for text in dates.split(' ').chain(["", " 2024-02-29", "+9999999999999999-01-01"]) {
            assert_eq!(date(text), None, "{text}");
        }
        for text in "1:02:03 01:02 24:00:00 23:60:00 23:59:60 01:02:03. 01:02:03.0001 01:02:03Z".split(' ') {
            assert_eq!(time(text, Millisecond), None, "{text}");
        }
        let instants = "2024-02-29 2024-02-29T00:00:00 2024-02-29T00:00:00+1 2024-02-29T00:00:00+0100 2024-02-29T00:00:00+24:00 2024-02-29T00:00:00.5Z 2024-02-29T00:00:00Zz 2024-02-29_00:00:00Z";
        for text in instants.split(' ') {
            assert_eq!(instant(text, Second, true), None, "{text}");
        }
        assert_eq!(instant("3000-01-01T00:00:00Z", Nanosecond, true), None);
    }
}
