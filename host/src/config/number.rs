//! Whole numbers, sizes and times, with their ranges.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Value as Json, json};
use toml::de::{DeInteger, DeValue};

use super::section::{Report, Value, shown};
use super::value::{Describe, Kind, wrong, wrong_type};
use crate::size;

/// A whole number in a range.
pub(super) struct Whole<N>(pub(super) RangeInclusive<N>);

impl<N: Copy + Into<u64> + TryFrom<u64>> Kind for Whole<N> {
    type Value = N;

    fn read(&self, value: Value<'_>, report: &mut Report<'_>) -> Option<N> {
        let DeValue::Integer(integer) = value.toml.get_ref() else {
            return wrong_type(value, "a whole number", report);
        };
        let number = signed(integer).and_then(|number| u64::try_from(number).ok());
        match number.filter(|number| self.bounds().contains(number)).and_then(|number| N::try_from(number).ok()) {
            Some(number) => Some(number),
            None => {
                let message = format!("`{}` must be {}, not {}", value.key, self.range(), shown(integer.as_str()));
                wrong(value, message, report)
            }
        }
    }
}

impl<N: Copy + Into<u64>> Describe for Whole<N> {
    fn words(&self) -> String {
        format!("whole number, {}", self.range().trim_start_matches("from "))
    }

    fn schema(&self) -> Json {
        let (min, max) = self.bounds().into_inner();
        let mut schema = json!({ "type": "integer", "minimum": min });
        if max < u64::MAX {
            schema["maximum"] = max.into();
        }
        schema
    }
}

impl<N: Copy + Into<u64>> Whole<N> {
    fn bounds(&self) -> RangeInclusive<u64> {
        (*self.0.start()).into()..=(*self.0.end()).into()
    }

    fn range(&self) -> String {
        match self.bounds().into_inner() {
            (min, u64::MAX) => format!("at least {min}"),
            (min, max) => format!("from {min} to {max}"),
        }
    }

    pub(super) fn written(&self, value: N) -> Json {
        value.into().into()
    }
}

/// A size, of at most so many bytes: a whole number of bytes, or a string with a unit.
pub(super) struct Bytes(pub(super) u64);

impl Bytes {
    pub(super) const ANY: Bytes = Bytes(u64::MAX);
}

impl Kind for Bytes {
    type Value = u64;

    fn read(&self, value: Value<'_>, report: &mut Report<'_>) -> Option<u64> {
        let bytes = match value.toml.get_ref() {
            DeValue::Integer(_) => Whole(1..=u64::MAX).read(value, report)?,
            DeValue::String(written) => size_of(written, value, report)?,
            _ => return wrong_type(value, "a size", report),
        };
        if bytes > self.0 {
            let max = size::written(self.0);
            return wrong(value, format!("`{}` must be at most {max}", value.key), report);
        }
        Some(bytes)
    }
}

fn size_of(written: &str, value: Value<'_>, report: &mut Report<'_>) -> Option<u64> {
    let read = size::bytes(written);
    if let Err(hint) = &read {
        let message = format!("`{}` is not a size: \"{}\"", value.key, shown(written));
        report.wrong(&value.toml.span(), message, hint);
    }
    read.ok()
}

impl Describe for Bytes {
    fn words(&self) -> String {
        match self.0 {
            u64::MAX => "size, at least 1 byte".into(),
            max => format!("size, at most {}", size::written(max)),
        }
    }

    fn schema(&self) -> Json {
        let with_unit = json!({ "type": "string", "pattern": size::PATTERN });
        json!({ "anyOf": [Whole(1..=self.0).schema(), with_unit] })
    }
}

impl Bytes {
    pub(super) fn written(&self, value: u64) -> Json {
        size::written(value).into()
    }
}

/// A time in seconds.
pub(super) struct Seconds {
    pub(super) may_be_zero: bool,
    pub(super) max: u32,
}

/// The longest time that can be asked for: a year. Sums of times stay far from overflow.
const YEAR: u32 = 31_536_000;

impl Seconds {
    pub(super) const ABOVE_ZERO: Seconds = Seconds { may_be_zero: false, max: YEAR };
    pub(super) const OR_ZERO: Seconds = Seconds { may_be_zero: true, max: YEAR };
}

impl Kind for Seconds {
    type Value = Duration;

    fn read(&self, value: Value<'_>, report: &mut Report<'_>) -> Option<Duration> {
        let written = match value.toml.get_ref() {
            DeValue::Integer(integer) => signed(integer).map(|number| number as f64),
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => return wrong_type(value, "a number of seconds", report),
        };
        let written = written.filter(|seconds| (0.0..=f64::from(YEAR)).contains(seconds));
        let range = match written.map(Duration::from_secs_f64) {
            None => format!("a number of seconds from 0 to {YEAR} (a year)"),
            Some(time) if time.is_zero() && !self.may_be_zero => "more than 0".into(),
            Some(time) if time > Duration::from_secs(self.max.into()) => format!("at most {}", self.max),
            Some(time) => return Some(time),
        };
        wrong(value, format!("`{}` must be {range}", value.key), report)
    }
}

impl Describe for Seconds {
    fn words(&self) -> String {
        let least = if self.may_be_zero { "0 or more" } else { "more than 0" };
        let most = if self.max == YEAR { "a year".into() } else { self.max.to_string() };
        format!("seconds, {least}, at most {most}")
    }

    fn schema(&self) -> Json {
        let least = if self.may_be_zero { "minimum" } else { "exclusiveMinimum" };
        json!({ "type": "number", (least): 0, "maximum": self.max })
    }
}

impl Seconds {
    pub(super) fn written(&self, value: Duration) -> Json {
        match value.subsec_nanos() {
            0 => value.as_secs().into(),
            _ => value.as_secs_f64().into(),
        }
    }
}

pub(super) fn signed(integer: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(integer.as_str(), integer.radix()).ok()
}
