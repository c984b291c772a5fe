//! Runs become the file: [`Finish`] merges them section by section.

use std::sync::Arc;

use super::chunk::{Chunk, NUMBERS, TEMPLATES, WIDE_NUMBERS};
use super::merge::{Merge, Piece};
use super::run::{self, Run};
use super::{BUFFER_BYTES, FAN_IN_MIN};
use crate::classify::Templates;
use crate::error::BuildError;
use crate::format::{Footer, Section, checksum, header};
use crate::number::Number;
use crate::numbers::writer::NumberWriter;
use crate::output::Output;
use crate::scratch::Scratch;
use crate::strings::merge::merge as merge_strings;
use crate::strings::writer::StringWriter;

/// A template with fewer ids is not worth a section of its own.
const TEMPLATE_IDS_MIN: u64 = 64;
/// Runs merged at once, at most: each is an open file.
const FAN_IN_MAX: usize = 512;

/// Runs on their way into the file.
pub(super) struct Finish {
    pub(super) memory_bytes_max: usize,
    pub(super) threads: usize,
    pub(super) buffer_bytes: usize,
    pub(super) templates: Arc<Templates>,
    /// Some strings are kept as they are although they have one.
    pub(super) strings_have_templates: bool,
    pub(super) runs: Vec<Run>,
    pub(super) scratch: Scratch,
    pub(super) output: Output,
}

impl Finish {
    /// Number of ids, and of bytes.
    pub(super) fn write(&mut self) -> Result<(u64, u64), BuildError> {
        self.reduce_runs()?;
        self.output.write(&header())?;
        let few = if self.strings_have_templates { self.take_few()? } else { Vec::new() };
        let mut sections = Vec::new();
        sections.extend(self.strings()?);
        sections.extend(self.numbers::<u64>(NUMBERS, Vec::new())?);
        sections.extend(self.numbers::<u128>(WIDE_NUMBERS, Vec::new())?);
        for template in 0..self.templates.len() {
            if few.contains(&template) {
                continue;
            }
            let key = self.templates.get(template).key().to_vec();
            sections.extend(if self.templates.get(template).is_short() {
                self.numbers::<u64>(TEMPLATES + template, key)?
            } else {
                self.numbers::<u128>(TEMPLATES + template, key)?
            });
        }
        self.write_directory(&sections)
    }

    fn write_directory(&mut self, sections: &[Section]) -> Result<(u64, u64), BuildError> {
        let ids = sections.iter().try_fold(0u64, |ids, section| ids.checked_add(section.ids));
        let ids = ids.ok_or(BuildError::TooManyIds)?;
        let mut directory = Vec::new();
        sections.iter().for_each(|section| section.write(&mut directory));
        let footer = Footer {
            ids,
            directory_at: self.output.at(),
            directory_checksum: checksum(&directory),
            sections: sections.len() as u64,
        };
        self.output.write(&directory)?;
        self.output.write(&footer.to_bytes())?;
        Ok((ids, self.output.at()))
    }

    /// Templates with few ids. These are strings again, in a run of their own.
    fn take_few(&mut self) -> Result<Vec<usize>, BuildError> {
        let mut few = Vec::new();
        let mut chunk = Chunk::default();
        let mut written = Vec::new();
        for template in 0..self.templates.len() {
            let ids: u64 = self.runs.iter().map(|run| run.ids(TEMPLATES + template)).sum();
            if ids < TEMPLATE_IDS_MIN {
                few.push(template);
                self.for_each_of(template, |id| chunk.push_string(id))?;
            }
            if chunk.bytes() > self.memory_bytes_max / 4 {
                written.push(self.write_run(std::mem::take(&mut chunk))?);
            }
        }
        if chunk.bytes() > 0 {
            written.push(self.write_run(chunk)?);
        }
        self.runs.extend(written);
        Ok(few)
    }

    fn write_run(&mut self, chunk: Chunk) -> Result<Run, BuildError> {
        Run::write(chunk, self.scratch.create_two(self.buffer_bytes)?, self.threads)
    }

    fn for_each_of(&self, template: usize, mut f: impl FnMut(&[u8])) -> Result<(), BuildError> {
        let class = TEMPLATES + template;
        let template = self.templates.get(template);
        for run in &self.runs {
            if template.is_short() {
                run.for_each::<u64>(class, |number| f(&template.write(number.into())))?;
            } else {
                run.for_each::<u128>(class, |number| f(&template.write(number)))?;
            }
        }
        Ok(())
    }

    fn strings(&mut self) -> Result<Vec<Section>, BuildError> {
        let runs: Vec<_> = self.runs.iter().filter_map(Run::strings).collect();
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        let mut writer = StringWriter::new(&mut self.output, &mut self.scratch)?;
        merge_strings(&runs, self.buffer_bytes, |id| writer.push(id))?;
        writer.finish(self.strings_have_templates, &mut self.scratch, self.memory_bytes_max / 2)
    }

    fn numbers<N: Number>(&mut self, class: usize, template: Vec<u8>) -> Result<Option<Section>, BuildError> {
        let merge = Merge::<N>::open(&self.runs, class, self.piece(self.runs.len()))?;
        let Some(merge) = merge else { return Ok(None) };
        let mut writer = NumberWriter::new(&mut self.output, &mut self.scratch)?;
        merge.run(self.threads, |blocks| writer.push(&blocks))?;
        writer.finish(template)
    }

    /// How much of the numbers is merged at once.
    fn piece(&self, runs: usize) -> Piece {
        Piece {
            numbers: (self.memory_bytes_max / (128 * (self.threads + 1))).clamp(256, 256 << 10),
            runs,
            buffer_bytes: self.buffer_bytes,
        }
    }

    /// Merges the smallest runs until one merge can take all. The first merge takes just as many as makes the later ones
    /// full.
    fn reduce_runs(&mut self) -> Result<(), BuildError> {
        let fan_in = (self.memory_bytes_max / (4 * BUFFER_BYTES)).clamp(FAN_IN_MIN, FAN_IN_MAX);
        while self.runs.len() > fan_in {
            let taken = fan_in.min(self.runs.len() - fan_in + 1);
            self.runs.sort_by_key(|run| std::cmp::Reverse(run.bytes()));
            let runs = self.runs.split_off(self.runs.len() - taken);
            let files = self.scratch.create_two(self.buffer_bytes)?;
            let merged = run::merge(&runs, files, self.piece(taken), self.threads)?;
            self.runs.push(merged);
            runs.into_iter().for_each(Run::remove);
        }
        Ok(())
    }
}
