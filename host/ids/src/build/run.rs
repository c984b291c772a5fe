//! A chunk, sorted, in two scratch files: numbers by class as blocks, each behind its record; and strings. Runs are gone when the
//! build ends; their blocks have checksums like those of the file.

use std::fs;
use std::hash::Hasher;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use twox_hash::XxHash3_64;

use super::chunk::{Chunk, Class, Numbers};
use super::merge::{Merge, Piece};
use crate::error::BuildError;
use crate::format::checksum;
use crate::number::Number;
use crate::numbers::block::{self, Blocks, Kind, Record};
use crate::scratch::{self, File};
use crate::strings::merge::{StringRun, StringRunWriter, merge as merge_strings};

pub(super) struct Run {
    numbers: PathBuf,
    /// By class.
    segments: Vec<Segment>,
    strings: StringRun,
    bytes: u64,
}

/// Where the blocks of a class are.
#[derive(Debug, Clone, Copy, Default)]
struct Segment {
    at: u64,
    bytes: u64,
    ids: u64,
    is_wide: bool,
    /// Of the records; blocks have their own.
    checksum: u64,
}

impl Run {
    /// Sorted by so many threads.
    pub(super) fn write(chunk: Chunk, [numbers, strings]: [File; 2], threads: usize) -> Result<Run, BuildError> {
        let (classes, mut buffer) = chunk.into_parts();
        let mut writer = RunWriter::new(numbers);
        for Class { short, wide } in classes {
            let at = writer.at;
            let ids = short.count() + wide.count();
            let is_wide = wide.count() > 0;
            write(&mut writer, short, threads)?;
            write(&mut writer, wide, threads)?;
            writer.end_segment(at, ids, is_wide);
        }
        let mut string_writer = StringRunWriter::new(strings);
        buffer.for_each_sorted(|id| string_writer.push(id))?;
        writer.finish(string_writer.finish()?)
    }

    /// An upper bound: repeats count.
    pub(super) fn ids(&self, class: usize) -> u64 {
        self.segments.get(class).map_or(0, |segment| segment.ids)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn strings(&self) -> Option<&StringRun> {
        (!self.strings.is_empty()).then_some(&self.strings)
    }

    pub(super) fn remove(self) {
        scratch::remove(&self.numbers);
        self.strings.remove();
    }

    pub(super) fn for_each<N: Number>(&self, class: usize, mut f: impl FnMut(N)) -> Result<(), BuildError> {
        let Some(mut reader) = BlockReader::open(self, class, 4 << 10)? else { return Ok(()) };
        let mut numbers = Numbers::default();
        while reader.read(&mut numbers)? {}
        numbers.single.drain(..).for_each(&mut f);
        numbers.stretches.into_iter().for_each(|(first, last)| first.each_to(last, &mut f));
        Ok(())
    }
}

fn write<N: Number>(writer: &mut RunWriter, mut numbers: Numbers<N>, threads: usize) -> Result<(), BuildError> {
    if numbers.count() == 0 {
        return Ok(());
    }
    numbers.sort(threads);
    numbers.cut(|blocks| writer.push(&blocks))
}

/// Several runs become one.
pub(super) fn merge(
    runs: &[Run],
    [numbers, strings]: [File; 2],
    piece: Piece,
    threads: usize,
) -> Result<Run, BuildError> {
    let mut writer = RunWriter::new(numbers);
    let classes = runs.iter().map(|run| run.segments.len()).max().unwrap_or(0);
    for class in 0..classes {
        let at = writer.at;
        let ids = runs.iter().map(|run| run.ids(class)).sum();
        let is_wide = runs.iter().any(|run| run.segments.get(class).is_some_and(|segment| segment.is_wide));
        if is_wide {
            merge_class::<u128>(runs, class, piece, threads, &mut writer)?;
        } else {
            merge_class::<u64>(runs, class, piece, threads, &mut writer)?;
        }
        writer.end_segment(at, ids, is_wide);
    }
    let own: Vec<_> = runs.iter().filter_map(Run::strings).collect();
    let mut string_writer = StringRunWriter::new(strings);
    merge_strings(&own, piece.buffer_bytes, |id| string_writer.push(id))?;
    writer.finish(string_writer.finish()?)
}

fn merge_class<N: Number>(
    runs: &[Run],
    class: usize,
    piece: Piece,
    threads: usize,
    writer: &mut RunWriter,
) -> Result<(), BuildError> {
    match Merge::<N>::open(runs, class, piece)? {
        Some(merge) => merge.run(threads, |blocks| writer.push(&blocks)),
        None => Ok(()),
    }
}

struct RunWriter {
    file: File,
    at: u64,
    segments: Vec<Segment>,
    record: Vec<u8>,
    /// Of the segment's records.
    hasher: XxHash3_64,
}

impl RunWriter {
    fn new(file: File) -> RunWriter {
        RunWriter { file, at: 0, segments: Vec::new(), record: Vec::new(), hasher: XxHash3_64::new() }
    }

    fn end_segment(&mut self, at: u64, ids: u64, is_wide: bool) {
        let checksum = std::mem::take(&mut self.hasher).finish();
        self.segments.push(Segment { at, bytes: self.at - at, ids, is_wide, checksum });
    }

    fn push<N: Number>(&mut self, blocks: &Blocks<N>) -> Result<(), BuildError> {
        for record in &blocks.records {
            self.record.clear();
            record.write(&mut self.record);
            self.hasher.write(&self.record);
            self.file.write(&self.record)?;
            let from = record.at as usize;
            let bytes = &blocks.bytes[from..from + record.bytes() as usize];
            self.file.write(bytes)?;
            self.at += (self.record.len() + bytes.len()) as u64;
        }
        Ok(())
    }

    fn finish(self, strings: StringRun) -> Result<Run, BuildError> {
        let bytes = self.at + strings.bytes();
        Ok(Run { numbers: self.file.close()?, segments: self.segments, strings, bytes })
    }
}

/// Blocks of a class of a run, one after the other.
pub(super) struct BlockReader<N> {
    file: BufReader<fs::File>,
    path: PathBuf,
    left: u64,
    last: Option<N>,
    bytes: Vec<u8>,
    hasher: XxHash3_64,
    checksum: u64,
}

impl<N: Number> BlockReader<N> {
    /// `None` if the run has none of this class.
    pub(super) fn open(run: &Run, class: usize, buffer_bytes: usize) -> Result<Option<BlockReader<N>>, BuildError> {
        let Some(segment) = run.segments.get(class).filter(|segment| segment.bytes > 0) else { return Ok(None) };
        let mut file = scratch::open(&run.numbers, buffer_bytes)?;
        file.seek(SeekFrom::Start(segment.at)).map_err(BuildError::io("read", &run.numbers))?;
        Ok(Some(BlockReader {
            file,
            path: run.numbers.clone(),
            left: segment.bytes,
            last: None,
            bytes: Vec::new(),
            hasher: XxHash3_64::new(),
            checksum: segment.checksum,
        }))
    }

    /// Adds the numbers of the next block; false if there is none.
    pub(super) fn read(&mut self, numbers: &mut Numbers<N>) -> Result<bool, BuildError> {
        if self.left == 0 {
            return if self.hasher.finish() == self.checksum { Ok(false) } else { Err(self.damaged()) };
        }
        self.fill(Record::<N>::BYTES)?;
        self.hasher.write(&self.bytes);
        let record =
            Record::<N>::read(&self.bytes, 0).filter(|record| self.last.is_none_or(|last| last < record.first));
        let Some(record) = record.filter(|record| record.bytes() <= self.left) else { return Err(self.damaged()) };
        self.last = Some(record.last);
        if record.kind == Kind::Stretch {
            numbers.stretches.push((record.first, record.last));
            return Ok(true);
        }
        let length = record.bytes() as usize;
        self.fill(length)?;
        if checksum(&self.bytes) != record.checksum {
            return Err(self.damaged());
        }
        // A number is read as if others followed it.
        self.bytes.resize(length + N::BYTES, 0);
        block::list(&record, &self.bytes, &mut numbers.single).map_err(|_| self.damaged())?;
        Ok(true)
    }

    fn fill(&mut self, length: usize) -> Result<(), BuildError> {
        self.bytes.resize(length, 0);
        self.left = self.left.checked_sub(length as u64).ok_or_else(|| self.damaged())?;
        self.file.read_exact(&mut self.bytes).map_err(BuildError::io("read", &self.path))
    }

    fn damaged(&self) -> BuildError {
        BuildError::ScratchDamaged { path: Path::to_owned(&self.path) }
    }
}
