//! How numbers, sizes and times are written, and words of somebody else.

use std::borrow::Cow;

/// `1_234_567` as `1,234,567`.
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `1,234 rows`.
pub fn counted(count: u64, noun: &str) -> String {
    let number = number(count);
    match noun.strip_suffix('y') {
        _ if count == 1 => format!("{number} {noun}"),
        Some(stem) => format!("{number} {stem}ies"),
        None => format!("{number} {noun}s"),
    }
}

/// A character that steers no terminal: no control character, none that changes the direction of writing.
pub fn harmless(c: char) -> char {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if c.is_control() || turns { char::REPLACEMENT_CHARACTER } else { c }
}

/// A text of several lines that steers no terminal. Only the lines are its own: words of somebody else that are to stay in one
/// are made [`harmless`] before.
pub fn steady(text: &str) -> Cow<'_, str> {
    let is_steady = |c: char| c == '\n' || c == harmless(c);
    if text.chars().all(is_steady) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|c| if c == '\n' { c } else { harmless(c) }).collect()
}

/// JSON whose strings say with escapes what would steer a terminal.
pub fn json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c == '\n' || c == harmless(c) {
            true => escaped.push(c),
            false => escaped.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}"))),
        }
    }
    escaped
}

/// A text of somebody else as a part of a line of ours.
pub fn line(text: &str) -> String {
    text.chars().map(harmless).collect()
}

/// A text of somebody else on lines of its own.
pub fn harmless_lines(text: &str) -> impl Iterator<Item = String> {
    text.lines().map(|each| line(each.trim_end()))
}

/// A text of somebody else in a line of ours: harmless, and not too long.
pub fn cut(text: &str, chars_max: usize) -> String {
    let mut harmless = text.chars().map(harmless);
    let mut cut: String = harmless.by_ref().take(chars_max).collect();
    if harmless.next().is_some() {
        cut.pop();
        cut.push('…');
    }
    cut
}

/// Bytes with a binary unit: `1.5 MiB`.
pub fn bytes(value: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut scaled = value as f64;
    let mut unit = 0;
    while scaled >= 1024.0 && unit < UNITS.len() - 1 {
        scaled /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{value} B") } else { format!("{scaled:.1} {}", UNITS[unit]) }
}

/// Seconds as `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`.
pub fn seconds(value: f64) -> String {
    let whole = value as u64;
    match whole {
        0..10 => format!("{value:.1} s"),
        10..120 => format!("{whole} s"),
        120..7200 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_steer_a_terminal_is_replaced_or_escaped() {
        assert_eq!(steady("a\u{1b}[31m\tb\nc\u{9b}\u{202e}"), "a\u{fffd}[31m\u{fffd}b\nc\u{fffd}\u{fffd}");
        assert!(matches!(steady("plain\nwords, é, 字"), Cow::Borrowed(_)));
        let value = serde_json::json!({ "a": "\u{1b}\u{7f}\u{9b}\u{202e}é" });
        let text = json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(text.chars().all(|c| c == '\n' || c == harmless(c)), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn numbers_sizes_and_times() {
        assert_eq!([number(0), number(999), number(1000), number(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([bytes(1023), bytes(1536), bytes(3 << 30)], ["1023 B", "1.5 KiB", "3.0 GiB"]);
        assert_eq!(
            [seconds(0.42), seconds(61.0), seconds(200.0), seconds(7500.0)],
            ["0.4 s", "61 s", "3 min 20 s", "2 h 5 min"]
        );
    }
}
