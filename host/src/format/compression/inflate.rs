//! gzip and zstd become plain bytes, step by step and with bounded memory: what comes out goes into the caller's buffer, and
//! no input makes it larger.
//!
//! Members of gzip and frames of zstd may follow one another (frames may be skippable ones), and zeros may follow the last
//! one, as tapes and some stores pad. Where the next one begins says nothing about lines. Whatever else is there, or is
//! missing, is damage of the whole object: checksums are compared, and an end that does not come is an error.
//! An object of no byte at all has no member, and is empty.

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder, Operation};

use super::Compression;

/// Base-2 logarithm of the most memory that a frame of zstd may ask for; what `zstd` itself allows without `--long`.
const WINDOW_LOG_MAX: u32 = 27;
/// That of gzip's window.
const GZIP_WINDOW_LOG: u8 = 15;
const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 0x08];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Bytes of a member or frame that tell what it is.
const HEAD_BYTES: usize = 6;

/// What is wrong with a compressed object. It is damaged, or no object of this kind; no part of it can be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    #[error("the {compression} data ends at byte {at} within a {}", part(*compression))]
    Truncated { compression: Compression, at: u64 },
    #[error("it is no {compression} data: it begins with {begin}")]
    OtherKind { compression: Compression, begin: String },
    #[error("at byte {at} of the {compression} data: {what}")]
    Corrupt { compression: Compression, at: u64, what: String },
    #[error(
        "the frame of zstd data at byte {at} asks for a window of 2^{window_log} bytes, more than 2^{WINDOW_LOG_MAX}"
    )]
    Window { at: u64, window_log: u32 },
    #[error("behind the last {}, from byte {at}, are bytes that are neither one nor zeros", part(*compression))]
    Trailing { compression: Compression, at: u64 },
}

impl Damaged {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Damaged::Truncated { .. } => "copy the object anew from where it came: its end is missing",
            Damaged::OtherKind { .. } => "give the object the ending that says how it is compressed, or none",
            Damaged::Window { .. } => "compress the object anew without --long",
            Damaged::Corrupt { .. } | Damaged::Trailing { .. } => "copy the object anew from where it came",
        }
    }
}

fn part(compression: Compression) -> &'static str {
    match compression {
        Compression::Zstd => "frame",
        Compression::Gzip | Compression::None => "member",
    }
}

/// What a step did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that are dealt with; the others must be given again.
    pub read: usize,
    /// Bytes of the output that are filled.
    pub written: usize,
}

/// Compressed bytes on their way to plain ones.
///
/// ```
/// use wasmpipe::format::compression::{Compression, inflate::Inflate, pack::Pack};
///
/// let mut packed = Vec::new();
/// for piece in ["{}\n", "{\"a\":1}\n"] {
///     let mut pack = Pack::new(Compression::Gzip, None)?;
///     pack.write(piece.as_bytes(), &mut packed)?;
///     pack.end(&mut packed)?;
/// }
/// let (mut inflate, mut plain, mut buffer) = (Inflate::new(Compression::Gzip), Vec::new(), [0; 4]);
/// let mut rest = packed.as_slice();
/// loop {
///     let step = inflate.step(rest, &mut buffer)?;
///     rest = &rest[step.read..];
///     plain.extend_from_slice(&buffer[..step.written]);
///     if rest.is_empty() && step.written < buffer.len() {
///         break;
///     }
/// }
/// inflate.end()?;
/// assert_eq!(plain, b"{}\n{\"a\":1}\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Inflate {
    compression: Compression,
    state: State,
    /// Compressed bytes so far.
    at: u64,
    /// Members or frames that are complete.
    parts: u64,
    /// Where the last one began, and its first bytes.
    part_at: u64,
    head: Vec<u8>,
    /// Serves all frames; its memory is not asked for again.
    frames: Option<Decoder<'static>>,
}

enum State {
    /// Not compressed.
    Plain,
    /// Before a member or frame.
    Between,
    Gzip(Decompress),
    Zstd,
    /// In the zeros behind the last one.
    Padding,
}

impl Inflate {
    /// From the beginning of an object, or of a member or frame in it.
    pub fn new(compression: Compression) -> Inflate {
        let state = if compression == Compression::None { State::Plain } else { State::Between };
        Inflate { compression, state, at: 0, parts: 0, part_at: 0, head: Vec::new(), frames: None }
    }

    /// Inflates as much as there is input, or as the output takes. With all input read and the output full there may be
    /// more to come: another step without input tells.
    pub fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Damaged> {
        let mut all = Step::default();
        loop {
            let (input, output) = (&input[all.read..], &mut output[all.written..]);
            let step = self.within_part(input, output)?;
            (all.read, all.written, self.at) =
                (all.read + step.read, all.written + step.written, self.at + step.read as u64);
            if step == Step::default() {
                return Ok(all);
            }
        }
    }

    /// There is no more input, and the last step did not fill its output: is this an end?
    pub fn end(&self) -> Result<(), Damaged> {
        match self.state {
            State::Gzip(_) | State::Zstd if !self.is_of_its_kind() => Err(self.other_kind()),
            State::Gzip(_) | State::Zstd => Err(Damaged::Truncated { compression: self.compression, at: self.at }),
            State::Plain | State::Between | State::Padding => Ok(()),
        }
    }

    /// Compressed bytes so far.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Whether the next byte begins a member or frame: reading may begin here, with a new `Inflate`.
    pub fn is_between(&self) -> bool {
        matches!(self.state, State::Between)
    }

    /// A step up to the end of a member or frame.
    fn within_part(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Damaged> {
        match &mut self.state {
            State::Plain => Ok(copy(input, output)),
            State::Padding => self.padding(input),
            State::Between => match input.first() {
                None => Ok(Step::default()),
                Some(0) if self.parts > 0 => {
                    self.state = State::Padding;
                    self.padding(input)
                }
                Some(_) => {
                    self.begin_part();
                    self.within_part(input, output)
                }
            },
            State::Gzip(_) => self.gzip(input, output),
            State::Zstd => self.zstd(input, output),
        }
    }

    fn padding(&self, input: &[u8]) -> Result<Step, Damaged> {
        match input.iter().position(|byte| *byte != 0) {
            None => Ok(Step { read: input.len(), written: 0 }),
            Some(zeros) => Err(Damaged::Trailing { compression: self.compression, at: self.at + zeros as u64 }),
        }
    }

    fn begin_part(&mut self) {
        (self.part_at, self.head) = (self.at, Vec::new());
        self.state = match self.compression {
            Compression::Zstd => State::Zstd,
            Compression::Gzip | Compression::None => State::Gzip(Decompress::new_gzip(GZIP_WINDOW_LOG)),
        };
    }

    fn gzip(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Damaged> {
        self.remember_head(input);
        let State::Gzip(member) = &mut self.state else { return Ok(Step::default()) };
        let (read, written) = (member.total_in(), member.total_out());
        let status = member.decompress(input, output, FlushDecompress::None);
        let size = |before, now| usize::try_from(now - before).unwrap_or(usize::MAX);
        let step = Step { read: size(read, member.total_in()), written: size(written, member.total_out()) };
        match status {
            Ok(Status::StreamEnd) => self.end_part(),
            Ok(Status::Ok | Status::BufError) => {}
            Err(error) => return Err(self.corrupt(error.to_string())),
        }
        Ok(step)
    }

    fn zstd(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Damaged> {
        self.remember_head(input);
        let frames = self.frames.take().map_or_else(decoder, Ok);
        let mut frames = frames.map_err(|error| self.corrupt(error.to_string()))?;
        let status = frames.run_on_buffers(input, output).map_err(|error| self.corrupt(error.to_string()))?;
        self.frames = Some(frames);
        let step = Step { read: status.bytes_read, written: status.bytes_written };
        // Before its first byte a decoder is at the end of a frame too.
        if status.remaining == 0 && self.at + step.read as u64 > self.part_at {
            self.end_part();
        }
        Ok(step)
    }

    fn end_part(&mut self) {
        self.parts += 1;
        self.state = State::Between;
    }

    fn remember_head(&mut self, input: &[u8]) {
        let read = usize::try_from(self.at - self.part_at).unwrap_or(usize::MAX);
        if read < HEAD_BYTES {
            self.head.truncate(read);
            self.head.extend(input.iter().take(HEAD_BYTES - read));
        }
    }

    /// What a decoder says of bytes that it cannot read; ours is better where the first bytes tell.
    fn corrupt(&self, what: String) -> Damaged {
        match window_log(&self.head) {
            _ if !self.is_of_its_kind() => self.other_kind(),
            Some(window_log) if window_log > WINDOW_LOG_MAX && self.compression == Compression::Zstd => {
                Damaged::Window { at: self.part_at, window_log }
            }
            _ => Damaged::Corrupt { compression: self.compression, at: self.at, what },
        }
    }

    fn is_of_its_kind(&self) -> bool {
        let is_it = |magic: &[u8]| magic.iter().zip(&self.head).all(|(wanted, found)| wanted == found);
        match self.compression {
            Compression::Zstd => is_it(&ZSTD_MAGIC) || is_skippable(&self.head),
            Compression::Gzip | Compression::None => is_it(&GZIP_MAGIC),
        }
    }

    fn other_kind(&self) -> Damaged {
        let compression = self.compression;
        match self.parts {
            0 => Damaged::OtherKind { compression, begin: hex(&self.head) },
            _ => Damaged::Trailing { compression, at: self.part_at },
        }
    }
}

fn copy(input: &[u8], output: &mut [u8]) -> Step {
    let length = input.len().min(output.len());
    output[..length].copy_from_slice(&input[..length]);
    Step { read: length, written: length }
}

fn decoder() -> std::io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
    Ok(decoder)
}

/// `50 2A 4D 18` to `5F 2A 4D 18`, as far as they are here.
fn is_skippable(head: &[u8]) -> bool {
    let rest = [0x2a, 0x4d, 0x18];
    head.first().is_none_or(|first| first & 0xf0 == 0x50)
        && head.iter().skip(1).zip(rest).all(|(byte, wanted)| *byte == wanted)
}

/// The size of the window that a frame asks for, RFC 8878, 3.1.1.1.2.
fn window_log(head: &[u8]) -> Option<u32> {
    match head {
        [_, _, _, _, descriptor, window, ..] if descriptor & 0x20 == 0 => Some(10 + u32::from(window >> 3)),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::pack::Pack;
    use super::*;

    fn packed(compression: Compression, pieces: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in pieces {
            let mut pack = Pack::new(compression, None).unwrap();
            pack.write(piece, &mut out).unwrap();
            pack.end(&mut out).unwrap();
        }
        out
    }

    fn inflated(
        compression: Compression,
        bytes: &[u8],
        input_bytes: usize,
        output_bytes: usize,
    ) -> Result<Vec<u8>, Damaged> {
        let (mut inflate, mut plain, mut buffer) = (Inflate::new(compression), Vec::new(), vec![0; output_bytes]);
        let mut end = 0;
        let mut start = 0;
        loop {
            let step = inflate.step(&bytes[start..end], &mut buffer)?;
            start += step.read;
            assert_eq!(inflate.position(), start as u64);
            plain.extend_from_slice(&buffer[..step.written]);
            if step.written < output_bytes {
                assert_eq!(start, end, "all input is read unless the output is full");
                if end == bytes.len() {
                    break;
                }
                end = (end + input_bytes).min(bytes.len());
            }
        }
        inflate.end().map(|()| plain)
    }

    const BOTH: [Compression; 2] = [Compression::Gzip, Compression::Zstd];

    fn text() -> Vec<u8> {
        (0..3000).flat_map(|n| format!("{{\"n\":{}}}\n", n * n % 7919).into_bytes()).collect()
    }

    #[test]
    fn members_and_frames_of_any_number_are_joined_however_they_are_cut() {
        let text = text();
        let (head, tail) = text.split_at(1234);
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let bytes = packed(compression, &[head, b"", tail]);
            for (input, output) in [(1, 1), (1, 7), (3, 4096), (1000, 1), (4096, 4096), (1 << 20, 1 << 20)] {
                assert!(
                    inflated(compression, &bytes, input, output).unwrap() == text,
                    "{compression} {input} {output}"
                );
            }
        }
    }

    #[test]
    fn zeros_may_follow_and_nothing_else() {
        for compression in BOTH {
            let mut bytes = packed(compression, &[b"abc"]);
            let whole = bytes.len() as u64;
            bytes.extend_from_slice(&[0; 1000]);
            assert_eq!(inflated(compression, &bytes, 100, 100).unwrap(), b"abc");
            bytes.push(1);
            let at = whole + 1000;
            assert_eq!(inflated(compression, &bytes, 100, 100), Err(Damaged::Trailing { compression, at }));
            bytes.truncate(bytes.len() - 1001);
            for junk in [&b"x"[..], b"{\"a\":1}\n", b"\x1f\x8c\x28\xb5\x2f\xfe"] {
                let bytes = [&bytes, junk].concat();
                for size in [1, 100] {
                    let told = inflated(compression, &bytes, size, 100);
                    assert_eq!(told, Err(Damaged::Trailing { compression, at: whole }), "{junk:?}");
                }
            }
        }
    }

    #[test]
    fn every_end_that_is_missing_is_damage() {
        for compression in BOTH {
            let bytes = packed(
                compression,
                &[
                    b"first
", b"second
",
                ],
            );
            let between = packed(
                compression,
                &[b"first
"],
            )
            .len();
            for length in 1..bytes.len() {
                let told = inflated(compression, &bytes[..length], 5, 3);
                match length == between {
                    true => assert_eq!(
                        told.unwrap(),
                        b"first
"
                    ),
                    false => assert_eq!(told, Err(Damaged::Truncated { compression, at: length as u64 })),
                }
            }
            assert_eq!(inflated(compression, b"", 1, 1).unwrap(), b"");
        }
    }

    #[test]
    fn every_flipped_bit_is_damage_or_changes_nothing() {
        let text = text();
        for compression in BOTH {
            let bytes = packed(compression, &[&text[..300]]);
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                if let Ok(plain) = inflated(compression, &flipped, 4096, 4096) {
                    // Fields of a header that say nothing about the content: a time, a name.
                    assert!(plain == text[..300] || plain.is_empty(), "{compression} bit {bit}");
                }
            }
        }
    }

    #[test]
    fn frames_that_are_skipped_have_no_bytes() {
        let skipped = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let frame = packed(Compression::Zstd, &[b"text"]);
        let bytes = [skipped.clone(), frame.clone(), skipped.clone(), frame].concat();
        for size in [1, 5, 1000] {
            assert_eq!(inflated(Compression::Zstd, &bytes, size, 100).unwrap(), b"texttext");
        }
        let told = inflated(Compression::Zstd, &skipped[..9], 100, 100);
        assert!(matches!(told, Err(Damaged::Truncated { .. })), "{told:?}");
    }

    #[test]
    fn what_is_of_another_kind_is_told_by_its_first_bytes() {
        let gzip = packed(Compression::Gzip, &[b"x"]);
        let told = inflated(Compression::Zstd, &gzip, 100, 100).unwrap_err().to_string();
        assert!(told.starts_with("it is no zstd data: it begins with 1f 8b 08"), "{told}");
        for size in [1, 100] {
            let told = inflated(Compression::Gzip, b"{\"a\":1}\n", size, 100).unwrap_err().to_string();
            assert!(told.starts_with("it is no gzip data: it begins with 7b"), "{told}");
            let told = inflated(Compression::Zstd, b"{}", size, 100).unwrap_err().to_string();
            assert!(told.starts_with("it is no zstd data: it begins with 7b"), "{told}");
        }
        assert!(matches!(inflated(Compression::Gzip, &[0; 10], 100, 100), Err(Damaged::OtherKind { .. })));
    }

    #[test]
    fn a_window_without_end_is_refused() {
        // Descriptor 0: no content size, no checksum; the window is 2^(10 + 30).
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0, 30 << 3, 1, 0, 0];
        for size in [1, 100] {
            let told = inflated(Compression::Zstd, &frame, size, 100);
            assert_eq!(told, Err(Damaged::Window { at: 0, window_log: 40 }));
        }
    }

    #[test]
    fn a_bomb_gives_no_more_than_there_is_room_for() {
        let zeros = vec![0; 16 << 20];
        for compression in BOTH {
            let bytes = packed(compression, &[&zeros]);
            assert!(bytes.len() < 100_000);
            let (mut inflate, mut buffer, mut at, mut all) = (Inflate::new(compression), vec![0; 1 << 16], 0, 0);
            loop {
                let step = inflate.step(&bytes[at..], &mut buffer).unwrap();
                (at, all) = (at + step.read, all + step.written);
                if step.written < buffer.len() {
                    break;
                }
            }
            inflate.end().unwrap();
            assert_eq!(all, zeros.len());
        }
    }
}
