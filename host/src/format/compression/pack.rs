//! Plain bytes become one gzip member or zstd frame. What is packed in pieces can be joined byte by byte, and each piece is
//! inflated alone. The same bytes in the same writes always become the same piece: no time and no name is in there.

use std::io::{self, Write};
use std::mem;

use flate2::write::GzEncoder;
use zstd::stream::write::Encoder;

use super::Compression;

/// Levels that are taken where none is said: the usual ones.
const GZIP_LEVEL: i32 = 6;
const ZSTD_LEVEL: i32 = 3;

/// A piece in the making. One without a byte is nothing at all.
pub struct Pack {
    compression: Compression,
    level: i32,
    piece: Piece,
}

enum Piece {
    /// Not begun, or not compressed.
    Plain,
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(Encoder<'static, Vec<u8>>),
}

/// The levels that a compression has, worst first; none if it has none.
pub fn levels(compression: Compression) -> Option<std::ops::RangeInclusive<i32>> {
    match compression {
        Compression::None => None,
        Compression::Gzip => Some(0..=9),
        Compression::Zstd => Some(zstd::compression_level_range()),
    }
}

/// No bytes, packed: what tools take for an empty file.
pub fn empty(compression: Compression) -> io::Result<Vec<u8>> {
    match compression {
        Compression::None => Ok(Vec::new()),
        Compression::Gzip => GzEncoder::new(Vec::new(), flate2::Compression::default()).finish(),
        Compression::Zstd => Encoder::new(Vec::new(), ZSTD_LEVEL)?.finish(),
    }
}

impl Pack {
    /// With the compression's usual level if none is said. A level beyond the range of [`levels`] is an error.
    pub fn new(compression: Compression, level: Option<i32>) -> io::Result<Pack> {
        let usual = if compression == Compression::Gzip { GZIP_LEVEL } else { ZSTD_LEVEL };
        let is_level = |level| levels(compression).is_none_or(|levels| levels.contains(&level));
        match level.unwrap_or(usual) {
            level if is_level(level) => Ok(Pack { compression, level, piece: Piece::Plain }),
            level => Err(io::Error::other(format!("{compression} has no level {level}"))),
        }
    }

    /// Takes bytes; what is ready goes behind what is in `out`.
    pub fn write(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        if plain.is_empty() {
            return Ok(());
        }
        if matches!(self.piece, Piece::Plain) {
            self.piece = self.begin()?;
        }
        match &mut self.piece {
            Piece::Plain => out.extend_from_slice(plain),
            Piece::Gzip(encoder) => {
                encoder.write_all(plain)?;
                out.append(encoder.get_mut());
            }
            Piece::Zstd(encoder) => {
                encoder.write_all(plain)?;
                out.append(encoder.get_mut());
            }
        }
        Ok(())
    }

    /// Ends the piece; the next byte begins another one.
    pub fn end(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        match mem::replace(&mut self.piece, Piece::Plain) {
            Piece::Plain => {}
            Piece::Gzip(encoder) => out.append(&mut encoder.finish()?),
            Piece::Zstd(encoder) => out.append(&mut encoder.finish()?),
        }
        Ok(())
    }

    fn begin(&self) -> io::Result<Piece> {
        Ok(match self.compression {
            Compression::None => Piece::Plain,
            Compression::Gzip => {
                let level = flate2::Compression::new(self.level.unsigned_abs());
                Piece::Gzip(GzEncoder::new(Vec::new(), level))
            }
            Compression::Zstd => {
                let mut encoder = Encoder::new(Vec::new(), self.level)?;
                encoder.include_checksum(true)?;
                Piece::Zstd(encoder)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_become_the_same_piece_and_none_become_none() {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let mut pack = Pack::new(compression, None).unwrap();
            let mut pieces = Vec::new();
            for text in ["", "abc", "abc", ""] {
                let mut out = Vec::new();
                pack.write(text.as_bytes(), &mut out).unwrap();
                pack.end(&mut out).unwrap();
                pieces.push(out);
            }
            assert!(pieces[0].is_empty() && pieces[3].is_empty(), "{compression}");
            assert!(!pieces[1].is_empty() && pieces[1] == pieces[2], "{compression}");
        }
    }

    #[test]
    fn levels_out_of_range_are_refused() {
        for (compression, good, bad) in
            [(Compression::Gzip, [0, 9], [-1, 10]), (Compression::Zstd, [-5, 22], [23, 1000])]
        {
            assert!(good.iter().all(|level| Pack::new(compression, Some(*level)).is_ok()), "{compression}");
            assert!(bad.iter().all(|level| Pack::new(compression, Some(*level)).is_err()), "{compression}");
        }
    }
}
