//! The text of an object, chunk by chunk, from one place on: as it stands, or inflated.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::format::compression::Compression;
use crate::format::compression::inflate::{Damaged, Inflate};
use crate::format::{FormatError, REQUEST_BYTES, Ranges};

/// Bytes that are fetched behind a span, for the line that crosses its end.
const BEHIND_BYTES: u64 = 64 << 10;
/// Bytes of text that are inflated at once.
const INFLATED_BYTES: usize = 256 << 10;

/// A text on its way.
pub(super) enum Text {
    Plain(Plain),
    Packed(Box<Packed>),
}

impl Text {
    /// The next bytes, at least one; none at the end of the object.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, FormatError> {
        match self {
            Text::Plain(plain) => plain.next(),
            Text::Packed(packed) => packed.next(),
        }
    }
}

/// The bytes of an object as they are.
pub(super) struct Plain {
    ranges: Arc<dyn Ranges>,
    at: u64,
    /// Where the span ends; what is behind it is fetched a little at a time.
    end: u64,
    request_bytes: u64,
}

impl Plain {
    /// From the first byte of a span.
    pub(super) fn of(ranges: &Arc<dyn Ranges>, span: &Range<u64>, request_bytes: u64) -> Plain {
        let request_bytes = request_bytes.clamp(1, REQUEST_BYTES);
        Plain { ranges: Arc::clone(ranges), at: span.start, end: span.end, request_bytes }
    }

    fn next(&mut self) -> Result<Option<Bytes>, FormatError> {
        let size = self.ranges.size();
        let rest = self.end.saturating_sub(self.at).min(self.request_bytes);
        let is_last = self.at + rest >= self.end;
        let end = (self.at + rest + if is_last { BEHIND_BYTES } else { 0 }).min(size);
        if self.at >= end {
            return Ok(None);
        }
        let bytes = fetch(&*self.ranges, self.at..end)?;
        self.at = end;
        Ok(Some(bytes))
    }
}

/// An object that is inflated.
pub(super) struct Packed {
    ranges: Arc<dyn Ranges>,
    at: u64,
    request_bytes: u64,
    /// Fetched, and not inflated yet.
    input: Bytes,
    inflate: Inflate,
    has_ended: bool,
}

impl Packed {
    pub(super) fn of(ranges: &Arc<dyn Ranges>, compression: Compression, request_bytes: u64) -> Packed {
        Packed {
            ranges: Arc::clone(ranges),
            at: 0,
            request_bytes: request_bytes.clamp(1, REQUEST_BYTES),
            input: Bytes::new(),
            inflate: Inflate::new(compression),
            has_ended: false,
        }
    }

    fn next(&mut self) -> Result<Option<Bytes>, FormatError> {
        let size = self.ranges.size();
        while !self.has_ended {
            if self.input.is_empty() && self.at < size {
                let end = (self.at + self.request_bytes).min(size);
                self.input = fetch(&*self.ranges, self.at..end)?;
                self.at = end;
            }
            let inflated = inflated(&mut self.inflate, &mut self.input).map_err(damaged)?;
            let is_all = self.input.is_empty() && self.at == size && inflated.len() < INFLATED_BYTES;
            if is_all {
                self.inflate.end().map_err(damaged)?;
                self.has_ended = true;
            }
            if !inflated.is_empty() {
                return Ok(Some(inflated));
            }
        }
        Ok(None)
    }
}

/// What the next of the input becomes, up to [`INFLATED_BYTES`]; with less, all of the input is read.
pub(super) fn inflated(inflate: &mut Inflate, input: &mut Bytes) -> Result<Bytes, Damaged> {
    let mut output = vec![0; INFLATED_BYTES];
    let step = inflate.step(input, &mut output)?;
    *input = input.slice(step.read..);
    output.truncate(step.written);
    Ok(output.into())
}

/// No part of the object can be trusted.
pub(super) fn damaged(damaged: Damaged) -> FormatError {
    FormatError::Bad { message: damaged.to_string(), hint: damaged.hint() }
}

fn fetch(ranges: &dyn Ranges, range: Range<u64>) -> Result<Bytes, FormatError> {
    let mut parts = ranges.wait(&[range]).map_err(FormatError::Unread)?;
    Ok(parts.pop().expect("one range"))
}
