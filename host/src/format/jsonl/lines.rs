//! Bytes become lines. Chunks go in as they come; a line is lent from the chunk that holds it, and only one that crosses
//! the border of chunks is copied.
//!
//! A line ends in `\n`; a `\r` before it is no part of the line. Lines of JSON's white space alone are none, but they have an
//! ordinal like every other: positions count what an editor counts. The byte order mark at the beginning of an object is
//! skipped. The last line may have no end, which it says: whoever reads an object that still grows must not believe it.
//! A line longer than `record_bytes_max` is given as its length and its first bytes; it is never held.

use std::ops::Range;

use bytes::Bytes;

const MARK: &[u8] = b"\xEF\xBB\xBF";
/// Bytes of a line that is too long which are given.
pub const HEAD_BYTES: usize = 1024;
/// Bytes of memory for lines over a border that are kept for the next one.
const KEPT_BYTES: usize = 1 << 20;

/// Where a line begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// The number of lines before it, blank ones too.
    pub line: u64,
    /// The number of bytes before it, in the uncompressed text.
    pub offset: u64,
}

/// One line that is not blank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    pub at: Position,
    pub content: Content<'a>,
    /// Whether it ends in `\n`; only the last one of an object may not.
    pub is_ended: bool,
}

/// What stands on a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// Without its end.
    Text(&'a [u8]),
    /// The line has more than `record_bytes_max` bytes: how many, and the first [`HEAD_BYTES`].
    TooLong { bytes: u64, head: &'a [u8] },
}

/// Bytes on their way to lines.
///
/// ```
/// use wasmpipe::format::jsonl::lines::{Content, Lines};
///
/// let (mut lines, mut seen) = (Lines::new(1 << 20), Vec::new());
/// for chunk in ["{\"a\":1}\n\n{\"a\"", ":2}\r\n"] {
///     lines.feed(chunk.into());
///     while let Some(line) = lines.next() {
///         let Content::Text(text) = line.content else { continue };
///         seen.push((line.at.line, text.to_vec()));
///     }
/// }
/// assert_eq!(seen, [(0, b"{\"a\":1}".to_vec()), (2, b"{\"a\":2}".to_vec())]);
/// ```
#[derive(Debug)]
pub struct Lines {
    record_bytes_max: usize,
    chunk: Bytes,
    /// Bytes of the chunk that are behind us.
    used: usize,
    /// The beginning of a line whose end is not here yet; of one that is too long only the head.
    begun: Begun,
    /// Of the next line.
    at: Position,
    is_finished: bool,
}

#[derive(Debug, Default)]
struct Begun {
    held: Vec<u8>,
    /// All bytes of it so far.
    bytes: u64,
    /// It has been lent and goes away with the next call.
    is_lent: bool,
}

/// A line that was found: where its bytes are, and how many it has.
struct Found {
    at: Position,
    bytes: u64,
    place: Place,
    is_ended: bool,
}

enum Place {
    Chunk(Range<usize>),
    Begun,
}

impl Lines {
    /// From the beginning of an object. A line may have `record_bytes_max` bytes without its end.
    pub fn new(record_bytes_max: usize) -> Lines {
        Lines::from(record_bytes_max, Position::default())
    }

    /// From the beginning of a line somewhere in an object.
    pub fn from(record_bytes_max: usize, at: Position) -> Lines {
        Lines { record_bytes_max, chunk: Bytes::new(), used: 0, begun: Begun::default(), at, is_finished: false }
    }

    /// Takes the next bytes of the object.
    ///
    /// # Panics
    /// If the lines of the chunk before were not all taken.
    pub fn feed(&mut self, chunk: Bytes) {
        assert!(self.used == self.chunk.len(), "lines are taken before the next chunk is fed");
        assert!(!self.is_finished, "nothing comes behind the end");
        (self.chunk, self.used) = (chunk, 0);
    }

    /// There are no more bytes: what is left is the last line.
    pub fn finish(&mut self) {
        self.is_finished = true;
    }

    /// Whether there are no more bytes.
    pub fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Where the next line begins. All lines before it were given, or are blank.
    pub fn position(&self) -> Position {
        self.at
    }

    /// The next line that is not blank; none if its end is not here yet.
    #[expect(clippy::should_implement_trait, reason = "a line is lent, which no iterator can do")]
    pub fn next(&mut self) -> Option<Line<'_>> {
        self.begun.forget_lent();
        loop {
            let found = self.find()?;
            if !self.is_blank(&found) {
                return Some(self.lend(found));
            }
            self.begun.forget_lent();
        }
    }

    /// The next physical line.
    fn find(&mut self) -> Option<Found> {
        let rest = &self.chunk[self.used..];
        match memchr::memchr(b'\n', rest) {
            Some(length) => Some(self.ended(self.used..self.used + length)),
            None => self.unended(),
        }
    }

    /// A line whose end is in this chunk.
    fn ended(&mut self, range: Range<usize>) -> Found {
        self.used = range.end + 1;
        let (bytes, place) = match self.begun.bytes {
            0 => (range.len() as u64, Place::Chunk(range)),
            _ => {
                self.begun.append(&self.chunk[range], self.record_bytes_max);
                self.begun.is_lent = true;
                (self.begun.bytes, Place::Begun)
            }
        };
        self.found(bytes, place, true)
    }

    /// The rest of the chunk is the beginning of a line, or the last one.
    fn unended(&mut self) -> Option<Found> {
        self.begun.append(&self.chunk[self.used..], self.record_bytes_max);
        (self.chunk, self.used) = (Bytes::new(), 0);
        if !self.is_finished || self.begun.bytes == 0 {
            return None;
        }
        self.begun.is_lent = true;
        Some(self.found(self.begun.bytes, Place::Begun, false))
    }

    fn found(&mut self, bytes: u64, place: Place, is_ended: bool) -> Found {
        let at = self.at;
        self.at = Position { line: at.line + 1, offset: at.offset + bytes + u64::from(is_ended) };
        Found { at, bytes, place, is_ended }
    }

    fn is_blank(&self, found: &Found) -> bool {
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
        self.is_short(found) && self.text(found).iter().all(is_space)
    }

    /// All of the line is held, and it is not longer than the limit.
    fn is_short(&self, found: &Found) -> bool {
        self.held(&found.place).len() as u64 == found.bytes && self.text(found).len() <= self.record_bytes_max
    }

    fn held(&self, place: &Place) -> &[u8] {
        match place {
            Place::Chunk(range) => &self.chunk[range.clone()],
            Place::Begun => &self.begun.held,
        }
    }

    /// What is held of the line, without byte order mark and line end.
    fn text(&self, found: &Found) -> &[u8] {
        let held = self.held(&found.place);
        let held = if found.at.offset == 0 { held.strip_prefix(MARK).unwrap_or(held) } else { held };
        if found.is_ended { held.strip_suffix(b"\r").unwrap_or(held) } else { held }
    }

    fn lend(&self, found: Found) -> Line<'_> {
        let text = self.text(&found);
        let content = match self.is_short(&found) {
            true => Content::Text(text),
            false => Content::TooLong { bytes: found.bytes, head: &text[..text.len().min(HEAD_BYTES)] },
        };
        Line { at: found.at, content, is_ended: found.is_ended }
    }
}

impl Begun {
    /// Takes more of the line. What is longer than the limit, a byte order mark and a `\r` is given up but for its head.
    fn append(&mut self, bytes: &[u8], bytes_max: usize) {
        let is_held = self.held.len() as u64 == self.bytes;
        self.bytes += bytes.len() as u64;
        let most = bytes_max.saturating_add(MARK.len() + 1);
        if is_held && self.held.len() + bytes.len() <= most {
            self.held.extend_from_slice(bytes);
        } else if is_held {
            let missing = (HEAD_BYTES + MARK.len()).saturating_sub(self.held.len());
            self.held.truncate(HEAD_BYTES + MARK.len());
            self.held.extend_from_slice(&bytes[..missing.min(bytes.len())]);
            self.held.shrink_to(KEPT_BYTES);
        }
    }

    fn forget_lent(&mut self) {
        if self.is_lent {
            self.held.clear();
            self.held.shrink_to(KEPT_BYTES);
            (self.bytes, self.is_lent) = (0, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ordinal, offset, text; `#` and the length for what is too long; `~` behind a line without an end.
    fn told(line: &Line<'_>) -> String {
        let text = match line.content {
            Content::Text(text) => String::from_utf8_lossy(text).into_owned(),
            Content::TooLong { bytes, head } => format!("#{bytes}:{}", head.len()),
        };
        let end = if line.is_ended { "" } else { "~" };
        format!("{}@{}={text}{end}", line.at.line, line.at.offset)
    }

    fn cut(text: &[u8], chunk_bytes: usize, record_bytes_max: usize) -> (Vec<String>, Position) {
        let (mut lines, mut seen) = (Lines::new(record_bytes_max), Vec::new());
        for chunk in text.chunks(chunk_bytes) {
            lines.feed(Bytes::copy_from_slice(chunk));
            while let Some(line) = lines.next() {
                seen.push(told(&line));
            }
            assert!(lines.begun.held.len() <= record_bytes_max.max(HEAD_BYTES) + 4);
        }
        lines.finish();
        while let Some(line) = lines.next() {
            seen.push(told(&line));
        }
        (seen, lines.position())
    }

    /// However the bytes are cut.
    fn check(text: &[u8], wanted: &[&str], lines: u64) {
        for chunk_bytes in (1..(text.len() + 2).min(50)).chain([1023, 1024, 1030, 5000, 5001, 5002, 6000]) {
            let (seen, end) = cut(text, chunk_bytes, 10);
            assert_eq!(seen, wanted, "{chunk_bytes} bytes a chunk");
            assert_eq!(end, Position { line: lines, offset: text.len() as u64 }, "{chunk_bytes} bytes a chunk");
        }
    }

    #[test]
    fn lines_have_the_ordinal_that_an_editor_shows() {
        check(b"", &[], 0);
        check(b"a\nbc\n", &["0@0=a", "1@2=bc"], 2);
        check(b"a\n\n \t\r\nb", &["0@0=a", "3@7=b~"], 4);
        check(b"\n\n", &[], 2);
        check(b"a\r\nb\rc\r\n\r\n", &["0@0=a", "1@3=b\rc"], 3);
        check(b"a\r", &["0@0=a\r~"], 1);
        check(b"  ", &[], 1);
        check(b" \x0c\n", &["0@0= \u{c}"], 1);
    }

    #[test]
    fn a_byte_order_mark_is_skipped_at_the_beginning_only() {
        check(b"\xEF\xBB\xBFa\n\xEF\xBB\xBFb\n", &["0@0=a", "1@5=\u{feff}b"], 2);
        check(b"\xEF\xBB\xBF", &[], 1);
        check(b"\xEF\xBB\xBF\r\na", &["1@5=a~"], 2);
        check(b"\xEF\xBB", &["0@0=\u{fffd}~"], 1);
        let mut lines = Lines::from(10, Position { line: 3, offset: 9 });
        lines.feed(Bytes::from_static(b"\xEF\xBB\xBFa\n"));
        assert_eq!(lines.next().map(|line| told(&line)).as_deref(), Some("3@9=\u{feff}a"));
    }

    #[test]
    fn a_line_that_is_too_long_is_not_held_and_the_next_one_comes() {
        check(b"0123456789\r\n01234567890\nx\n", &["0@0=0123456789", "1@12=#11:11", "2@24=x"], 3);
        check(b"\xEF\xBB\xBF0123456789\r\n01234567890", &["0@0=0123456789", "1@15=#11:11~"], 2);
        let text = [&b"a\n"[..], &[b'x'; 5000], b"\n\nb"].concat();
        check(&text, &["0@0=a", "1@2=#5000:1024", "3@5004=b~"], 4);
        let blank = [&[b' '; 5000][..], b"\nb"].concat();
        check(&blank, &["0@0=#5000:1024", "1@5001=b~"], 2);
    }

    #[test]
    fn the_memory_of_a_long_line_is_given_back() {
        let mut lines = Lines::new(64 << 20);
        for _ in 0..8 {
            lines.feed(Bytes::from(vec![b'x'; 1 << 20]));
            assert_eq!(lines.next(), None);
        }
        lines.feed(Bytes::from_static(b"\nb\n"));
        let line = lines.next().unwrap();
        assert!(matches!(line.content, Content::Text(text) if text.len() == 8 << 20));
        lines.next().unwrap();
        assert!(lines.begun.held.capacity() <= KEPT_BYTES);
    }
}
