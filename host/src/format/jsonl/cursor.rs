//! One line of JSON, read once from left to right, as RFC 8259 has it and no laxer. A value is read by who knows its type, or
//! passed over with the same checks: no key twice in an object, no half of a surrogate pair, no depth without end.

use std::borrow::Cow;
use std::collections::HashSet;

use super::extra::Extra;
use super::refusal::{Reason, Refusal, excerpt};

/// Objects and lists within one another.
pub const DEPTH_MAX: usize = 128;
/// Digits of whole numbers that 64 bits surely hold.
const SHORT_DIGITS: usize = 18;
/// Keys of an object that are compared one by one; of a larger one a set is made.
const LISTED_KEYS_MAX: usize = 16;

pub(super) type Checked<T = ()> = Result<T, Refusal>;

/// A place in a line.
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// Keys that the schema does not name.
    pub(super) extra: Extra,
}

/// A number as it is spelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number<'a> {
    pub text: &'a str,
    /// It has neither a fraction nor an exponent.
    pub is_whole: bool,
}

/// What a value is by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    List,
    String,
    Number,
    Bool,
    Null,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Object => "an object",
            Kind::List => "a list",
            Kind::String => "a string",
            Kind::Number => "a number",
            Kind::Bool => "true or false",
            Kind::Null => "null",
        }
    }
}

impl<'a> Cursor<'a> {
    /// At the beginning of a line. What is in `extra` deals with keys that the schema does not name.
    pub(super) fn new(line: &'a str, extra: Extra) -> Cursor<'a> {
        Cursor { text: line, at: 0, depth: 0, extra }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The text from a place up to here, as it stands.
    pub(super) fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    #[inline]
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes().get(self.at).copied()
    }

    #[inline]
    pub(super) fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    /// Goes behind `word` if it stands here.
    #[inline]
    pub(super) fn skip(&mut self, word: &[u8]) -> bool {
        let is_here = self.bytes()[self.at..].starts_with(word);
        self.at += if is_here { word.len() } else { 0 };
        is_here
    }

    #[inline]
    fn expect(&mut self, byte: u8, expected: &'static str) -> Checked {
        match self.peek() {
            Some(here) if here == byte => {
                self.at += 1;
                Ok(())
            }
            _ => Err(self.unexpected(expected)),
        }
    }

    /// There is no more but white space.
    pub(super) fn end(&mut self) -> Checked {
        self.space();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(Refusal::new(Reason::SecondValue { at: self.at, found: excerpt(&self.bytes()[self.at..]) })),
        }
    }

    /// What stands here is not what must.
    #[cold]
    pub(super) fn unexpected(&self, expected: &'static str) -> Refusal {
        Refusal::new(match self.bytes().get(self.at..) {
            None | Some([]) => Reason::Unfinished { inside: if self.depth > 0 { "its object" } else { "a value" } },
            Some(rest) => Reason::Syntax { at: self.at, expected, found: word(rest) },
        })
    }

    /// What the value here is. It may yet be misspelt.
    #[inline]
    pub(super) fn kind(&self) -> Checked<Kind> {
        match self.peek() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::List),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            _ => Err(self.unexpected("a value")),
        }
    }

    /// The value here is of another kind than it must be.
    #[cold]
    pub(super) fn unfit(&self, expected: &str) -> Refusal {
        let found = match self.kind() {
            Err(refusal) => return refusal,
            Ok(Kind::Object) => "an object".into(),
            Ok(Kind::List) => "a list".into(),
            Ok(Kind::String) => format!("the string {}", string_excerpt(&self.bytes()[self.at..])),
            Ok(Kind::Number | Kind::Bool | Kind::Null) => word(&self.bytes()[self.at..]),
        };
        Refusal::new(Reason::Kind { expected: expected.to_owned(), found })
    }

    #[inline]
    fn enter(&mut self) -> Checked {
        self.at += 1;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Refusal::new(Reason::TooDeep { max: DEPTH_MAX }));
        }
        self.space();
        Ok(())
    }

    /// A line is one object.
    pub(super) fn object_begins(&mut self) -> Checked {
        match self.kind()? {
            Kind::Object => Ok(()),
            kind => {
                // What only begins like another value is none.
                self.pass()?;
                Err(Refusal::new(Reason::NoObject { found: kind.name() }))
            }
        }
    }

    /// An object, whose opening brace stands here; `member` reads a key, a colon and a value each time.
    #[inline]
    pub(super) fn object(&mut self, mut member: impl FnMut(&mut Self) -> Checked) -> Checked {
        self.enter()?;
        if self.peek() == Some(b'}') {
            return self.leave();
        }
        loop {
            member(self)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => return self.leave(),
                _ => return Err(self.unexpected("`,` or `}`")),
            }
            self.space();
        }
    }

    /// A list, whose opening bracket stands here; `element` reads a value each time.
    #[inline]
    pub(super) fn list(&mut self, mut element: impl FnMut(&mut Self) -> Checked) -> Checked {
        self.enter()?;
        if self.peek() == Some(b']') {
            return self.leave();
        }
        loop {
            element(self)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => return self.leave(),
                _ => return Err(self.unexpected("`,` or `]`")),
            }
            self.space();
        }
    }

    #[inline]
    #[expect(clippy::unnecessary_wraps, reason = "the end of what may fail")]
    fn leave(&mut self) -> Checked {
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }

    /// A key, and what follows up to its value.
    #[inline]
    pub(super) fn key(&mut self) -> Checked<Cow<'a, str>> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a key in double quotes"));
        }
        let key = self.string()?;
        self.colon()?;
        Ok(key)
    }

    /// Between a key and its value.
    #[inline]
    pub(super) fn colon(&mut self) -> Checked {
        self.space();
        self.expect(b':', "`:`")?;
        self.space();
        Ok(())
    }

    /// A string, whose opening quote stands here.
    pub(super) fn string(&mut self) -> Checked<Cow<'a, str>> {
        let start = self.at + 1;
        let end = start + plain_bytes(&self.bytes()[start..]);
        if self.bytes().get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(Cow::Borrowed(&self.text[start..end]));
        }
        let mut text = String::new();
        self.string_pieces(|piece| text.push_str(piece))?;
        Ok(Cow::Owned(text))
    }

    /// A string, whose opening quote stands here, behind what is in `text`.
    #[inline]
    pub(super) fn string_into(&mut self, text: &mut String) -> Checked {
        self.string_pieces(|piece| text.push_str(piece))
    }

    /// The pieces between escapes, and what the escapes say.
    #[inline]
    fn string_pieces(&mut self, mut piece: impl FnMut(&str)) -> Checked {
        self.at += 1;
        loop {
            let start = self.at;
            self.at += plain_bytes(&self.bytes()[start..]);
            piece(self.since(start));
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => piece(self.escape()?.encode_utf8(&mut [0; 4])),
                Some(code) => return Err(Refusal::new(Reason::Control { at: self.at, code })),
                None => return Err(Refusal::new(Reason::Unfinished { inside: "a string" })),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// The character that an escape stands for.
    fn escape(&mut self) -> Checked<char> {
        let start = self.at;
        self.at += 2;
        let short = match self.bytes().get(start + 1) {
            Some(b'u') => return self.escaped_unit(start),
            Some(&letter @ (b'"' | b'\\' | b'/')) => letter as char,
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(_) => return Err(self.no_escape(start)),
            None => return Err(Refusal::new(Reason::Unfinished { inside: "a string" })),
        };
        Ok(short)
    }

    /// `\u0041`, or two of them for a character beyond the first 65,536.
    fn escaped_unit(&mut self, start: usize) -> Checked<char> {
        let first = self.hex(start)?;
        let is_high = (0xD800..0xDC00).contains(&first);
        if !is_high || !self.skip(b"\\u") {
            return char::from_u32(first).ok_or_else(|| Refusal::new(Reason::LoneSurrogate { at: start }));
        }
        let second = self.hex(self.at - 2)?;
        let low = second.wrapping_sub(0xDC00);
        let pair = (low < 0x400).then(|| 0x1_0000 + ((first - 0xD800) << 10) + low);
        pair.and_then(char::from_u32).ok_or_else(|| Refusal::new(Reason::LoneSurrogate { at: start }))
    }

    fn hex(&mut self, start: usize) -> Checked<u32> {
        let digits = self.bytes().get(self.at..self.at + 4).ok_or_else(|| self.no_escape(start))?;
        let mut unit = 0;
        for &digit in digits {
            unit = unit * 16 + (digit as char).to_digit(16).ok_or_else(|| self.no_escape(start))?;
        }
        self.at += 4;
        Ok(unit)
    }

    #[cold]
    fn no_escape(&self, start: usize) -> Refusal {
        let rest = &self.bytes()[start..];
        let length = if rest.get(1) == Some(&b'u') { 6 } else { 2 };
        Refusal::new(Reason::Escape { at: start, found: excerpt(&rest[..length.min(rest.len())]) })
    }

    /// A number, whose first byte stands here.
    #[inline]
    pub(super) fn number(&mut self) -> Checked<Number<'a>> {
        let start = self.at;
        self.skip(b"-");
        if self.skip(b"0") {
            self.no_digit("begins with a zero")?;
        } else {
            self.digits("has no digit")?;
        }
        let whole_end = self.at;
        if self.skip(b".") {
            self.digits("has no digit behind its point")?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits("has no digit in its exponent")?;
        }
        Ok(Number { text: self.since(start), is_whole: self.at == whole_end })
    }

    /// A whole number of up to 18 digits, if it is spelt as one; else stays where it is.
    #[inline]
    pub(super) fn short_integer(&mut self) -> Option<i64> {
        let is_negative = self.peek() == Some(b'-');
        let (start, mut value) = (self.at + usize::from(is_negative), 0);
        let mut end = start;
        while let Some(&digit @ b'0'..=b'9') = self.bytes().get(end) {
            if end - start == SHORT_DIGITS {
                return None;
            }
            value = value * 10 + i64::from(digit - b'0');
            end += 1;
        }
        let goes_on = matches!(self.bytes().get(end), Some(b'.' | b'e' | b'E'));
        let begins_with_zero = end - start > 1 && self.bytes()[start] == b'0';
        if end == start || goes_on || begins_with_zero {
            return None;
        }
        self.at = end;
        Some(if is_negative { -value } else { value })
    }

    #[inline]
    fn digits(&mut self, what: &'static str) -> Checked {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        match self.at > start {
            true => Ok(()),
            false => Err(Refusal::new(Reason::NumberSyntax { at: start, what })),
        }
    }

    fn no_digit(&mut self, what: &'static str) -> Checked {
        match self.peek() {
            Some(b'0'..=b'9') => Err(Refusal::new(Reason::NumberSyntax { at: self.at - 1, what })),
            _ => Ok(()),
        }
    }

    /// `true` or `false`, whose first letter stands here.
    pub(super) fn boolean(&mut self) -> Checked<bool> {
        let is_true = self.skip(b"true");
        if is_true || self.skip(b"false") { Ok(is_true) } else { Err(self.unexpected("a value")) }
    }

    /// Whether `null` stands here; then goes behind it.
    #[inline]
    pub(super) fn null(&mut self) -> Checked<bool> {
        if self.peek() != Some(b'n') {
            return Ok(false);
        }
        if self.skip(b"null") { Ok(true) } else { Err(self.unexpected("a value")) }
    }

    /// Goes behind any value, and checks it.
    pub(super) fn pass(&mut self) -> Checked {
        match self.kind()? {
            Kind::Object => {
                let mut keys = Keys::default();
                self.object(|text| {
                    let key = text.key()?;
                    let told = text.pass();
                    keys.add(key.clone()).and(told).map_err(|refusal| refusal.within_key(&key))
                })
            }
            Kind::List => self.list(Cursor::pass),
            Kind::String => self.string_pieces(|_| ()),
            Kind::Number => self.number().map(drop),
            Kind::Bool => self.boolean().map(drop),
            Kind::Null => self.null().map(drop),
        }
    }
}

/// The keys of an object so far, so that none stands twice.
#[derive(Default)]
pub(super) struct Keys<'a> {
    listed: Vec<Cow<'a, str>>,
    many: HashSet<Cow<'a, str>>,
}

impl<'a> Keys<'a> {
    pub(super) fn add(&mut self, key: Cow<'a, str>) -> Checked {
        let is_new = match self.many.is_empty() {
            false => self.many.insert(key),
            true if self.listed.contains(&key) => false,
            true => self.list(key),
        };
        if is_new { Ok(()) } else { Err(Refusal::new(Reason::DuplicateKey)) }
    }

    fn list(&mut self, key: Cow<'a, str>) -> bool {
        self.listed.push(key);
        if self.listed.len() > LISTED_KEYS_MAX {
            self.many.extend(self.listed.drain(..));
        }
        true
    }
}

/// How many bytes of a string come before its end, an escape or what must be escaped.
#[inline]
pub(super) fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut at = 0;
    while let Some(&word) = bytes[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(word);
        let quotes = zero(word ^ (ONES * b'"' as u64));
        let slashes = zero(word ^ (ONES * b'\\' as u64));
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let odd = quotes | slashes | controls;
        if odd != 0 {
            // Below the first hit no bit is wrong; borrows only go up.
            return at + odd.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let is_odd = |&byte: &u8| byte == b'"' || byte == b'\\' || byte < 0x20;
    at + bytes[at..].iter().position(is_odd).unwrap_or(bytes.len() - at)
}

/// A line as text.
pub(super) fn text(line: &[u8]) -> Checked<&str> {
    std::str::from_utf8(line).map_err(|error| Refusal::new(Reason::NotUtf8 { at: error.valid_up_to() }))
}

/// A word, a number or one character.
fn word(rest: &[u8]) -> String {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let length = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
    let first = std::str::from_utf8(&rest[..rest.len().min(4)])
        .unwrap_or_else(|error| std::str::from_utf8(&rest[..error.valid_up_to()]).unwrap_or_default());
    let first = first.chars().next().map_or(1, char::len_utf8);
    excerpt(&rest[..length.max(first).min(rest.len())])
}

/// A string with its quotes, as it stands.
fn string_excerpt(rest: &[u8]) -> String {
    let mut end = 1;
    while end < rest.len() && rest[end] != b'"' {
        end += if rest[end] == b'\\' { 2 } else { 1 };
    }
    excerpt(&rest[..(end + 1).min(rest.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_bytes_end_where_a_loop_says() {
        for length in 0..40 {
            for place in 0..length {
                for byte in 0..=255 {
                    let mut bytes = vec![b'x'; length];
                    bytes[place] = byte;
                    let is_plain = byte != b'"' && byte != b'\\' && byte >= 0x20;
                    assert_eq!(plain_bytes(&bytes), if is_plain { length } else { place }, "{byte} at {place}");
                }
            }
        }
    }

    #[test]
    fn a_key_is_found_a_second_time_in_objects_of_any_size() {
        for count in [1, 2, 15, 16, 17, 18, 1000] {
            let names: Vec<Cow<'_, str>> = (0..count).map(|n| Cow::Owned(format!("k{n}"))).collect();
            for twice in [0, count / 2, count - 1] {
                let mut keys = Keys::default();
                names.iter().for_each(|name| keys.add(name.clone()).unwrap());
                assert!(keys.add(names[twice].clone()).is_err(), "{twice} of {count}");
            }
        }
    }
}
