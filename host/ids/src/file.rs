//! [`Ids`]: the file's bytes, opened and asked. Does no I/O: bytes come from a `Vec` or a mapping, pages as they are touched. No
//! number that it reads is used before it is checked.

use std::fmt;
use std::sync::Arc;

use crate::classify::{Classifier, Groups, Templates};
use crate::column::{Column, ROWS_MAX, Strings};
use crate::error::{Damage, Part};
use crate::format::{
    FOOTER_BYTES, FOOTER_SEALED_BYTES, Footer, HEADER_BYTES, MAGIC, Section, SectionKind, VERSION, checksum, seal,
    slice, u32_at, u64_at,
};
use crate::number::Number;
use crate::numbers::ask::{ask_all, ask_some};
use crate::numbers::section::NumberSection;
use crate::strings::ask::ask_rows;
use crate::strings::filter::Filter;
use crate::strings::section::StringSection;
use crate::template::Template;

/// Rows that are sorted by template together.
const ROWS_AT_ONCE: usize = 64 << 10;
/// Templates in all, if one that the file does not have is to be remembered: all are copied for it.
const REMEMBERED_MAX: usize = 64;

/// An opened id file. Threads may share it.
///
/// The bytes must not change while it is open. If they do, answers are wrong or [`Damage`]; there is still no panic.
pub struct Ids<B: AsRef<[u8]>> {
    bytes: B,
    ids: u64,
    sections: Sections,
}

#[derive(Default)]
struct Sections {
    strings: Option<StringSection>,
    strings_have_templates: bool,
    filter: Option<Filter>,
    numbers: Option<NumberSection<u64>>,
    wide_numbers: Option<NumberSection<u128>>,
    templates: Arc<Templates>,
    /// By the number of the template.
    of_templates: Vec<OfTemplate>,
}

enum OfTemplate {
    Short(NumberSection<u64>),
    Wide(NumberSection<u128>),
}

/// An id of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Id<'a> {
    /// From [`Column::Numbers`].
    Number(u64),
    /// From [`Column::WideNumbers`].
    WideNumber(u128),
    /// From [`Column::Strings`] or [`Column::Binary`].
    String(&'a [u8]),
}

impl<B: AsRef<[u8]>> Ids<B> {
    /// Checks header, footer, directory and all indexes; blocks are checked when they are first touched. Costs one pass over the
    /// indexes, 0.5 % of the file for random numbers; a bit of memory per block, and for each section at most a megabyte.
    pub fn open(bytes: B) -> Result<Ids<B>, Damage> {
        let (ids, sections) = open(bytes.as_ref())?;
        Ok(Ids { bytes, ids, sections })
    }

    /// How many ids there are.
    pub fn len(&self) -> u64 {
        self.ids
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids == 0
    }

    /// A bit for each id of the column, in order: that of id `i` is bit `i % 64` of word `i / 64`; bits behind the last are 0.
    ///
    /// Any order is right. Ids that are near each other in the set are cheaper next to each other; for others, memory is asked
    /// for many at a time, so a column of thousands costs less for each than a column of one.
    pub fn ask(&self, column: Column<'_>) -> Result<Vec<u64>, Damage> {
        assert!(column.len() <= ROWS_MAX, "{} ids in a column", column.len());
        let mut answers = vec![0; column.len().div_ceil(64)];
        let bytes = self.bytes.as_ref();
        match column {
            Column::Numbers(numbers) => ask_all(self.sections.numbers.as_ref(), bytes, numbers, &mut answers)?,
            Column::WideNumbers(numbers) => ask_all(self.sections.wide_numbers.as_ref(), bytes, numbers, &mut answers)?,
            Column::Strings(strings) if self.sections.templates.len() > 0 => {
                self.ask_by_template(&strings, &mut answers)?;
            }
            Column::Strings(strings) | Column::Binary(strings) => {
                self.ask_strings(&strings, 0..strings.len(), &mut answers)?;
            }
        }
        Ok(answers)
    }

    fn ask_by_template(&self, strings: &Strings<'_>, answers: &mut [u64]) -> Result<(), Damage> {
        let bytes = self.bytes.as_ref();
        let mut templates = Arc::clone(&self.sections.templates);
        let (mut classifier, mut groups) = (Classifier::new(), Groups::default());
        for from in (0..strings.len()).step_by(ROWS_AT_ONCE) {
            let rows = from..strings.len().min(from + ROWS_AT_ONCE);
            groups.clear();
            classifier.classify(strings, rows, &mut templates, &mut groups, |known, key| self.absent(known, key));
            for (group, section) in groups.groups.iter().zip(&self.sections.of_templates) {
                match section {
                    OfTemplate::Short(section) => ask_some(section, bytes, &group.short, &group.rows, answers)?,
                    OfTemplate::Wide(section) => ask_some(section, bytes, &group.wide, &group.rows, answers)?,
                }
            }
            self.ask_strings(strings, groups.others.iter().map(|row| *row as usize), answers)?;
        }
        Ok(())
    }

    /// Strings of a template that the file does not have are none of its ids. If there are few templates, such ones are remembered for
    /// the call, as if they were known; the file has no section for them.
    fn absent(&self, known: &mut Arc<Templates>, key: &[u8]) -> Option<usize> {
        if self.sections.strings_have_templates || known.len() >= REMEMBERED_MAX {
            return None;
        }
        Template::new(key).map(|template| Arc::make_mut(known).add(template))
    }

    fn ask_strings(
        &self,
        strings: &Strings<'_>,
        rows: impl Iterator<Item = usize>,
        answers: &mut [u64],
    ) -> Result<(), Damage> {
        let Sections { strings: section, filter, .. } = &self.sections;
        section
            .as_ref()
            .map_or(Ok(()), |section| ask_rows(section, filter.as_ref(), self.bytes.as_ref(), strings, rows, answers))
    }

    /// Reads everything: every block's checksum and structure, the order of all ids, and the counts.
    pub fn verify(&self) -> Result<(), Damage> {
        let bytes = self.bytes.as_ref();
        let Sections { strings, filter, numbers, wide_numbers, of_templates, .. } = &self.sections;
        filter.as_ref().map_or(Ok(()), |filter| filter.check_all(bytes))?;
        let passes = |id: &[u8]| filter.as_ref().map_or(Ok(()), |filter| filter.check_passes(bytes, id));
        strings.as_ref().map_or(Ok(()), |section| section.try_for_each(bytes, passes))?;
        numbers.as_ref().map_or(Ok(()), |section| section.for_each(bytes, |_, _| ()))?;
        wide_numbers.as_ref().map_or(Ok(()), |section| section.for_each(bytes, |_, _| ()))?;
        of_templates.iter().try_for_each(|section| match section {
            OfTemplate::Short(section) => section.for_each(bytes, |_, _| ()),
            OfTemplate::Wide(section) => section.for_each(bytes, |_, _| ()),
        })
    }

    /// Calls `f` with each id, once: numbers ascending; strings by template, ascending within each.
    pub fn for_each(&self, mut f: impl FnMut(Id<'_>)) -> Result<(), Damage> {
        let bytes = self.bytes.as_ref();
        let Sections { strings, numbers, wide_numbers, templates, of_templates, .. } = &self.sections;
        if let Some(section) = strings {
            section.try_for_each(bytes, |id| {
                f(Id::String(id));
                Ok(())
            })?;
        }
        if let Some(section) = numbers {
            each(section, bytes, |number| f(Id::Number(number)))?;
        }
        if let Some(section) = wide_numbers {
            each(section, bytes, |number| f(Id::WideNumber(number)))?;
        }
        for (number, section) in of_templates.iter().enumerate() {
            let template = templates.get(number);
            match section {
                OfTemplate::Short(section) => each(section, bytes, |id| f(Id::String(&template.write(id.into()))))?,
                OfTemplate::Wide(section) => each(section, bytes, |id| f(Id::String(&template.write(id))))?,
            }
        }
        Ok(())
    }
}

fn each<N: Number>(section: &NumberSection<N>, bytes: &[u8], mut f: impl FnMut(N)) -> Result<(), Damage> {
    section.for_each(bytes, |first, last| first.each_to(last, &mut f))
}

impl<B: AsRef<[u8]>> fmt::Debug for Ids<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let templates = self.sections.templates.len();
        f.debug_struct("Ids").field("len", &self.ids).field("templates", &templates).finish_non_exhaustive()
    }
}

/// Everything but the blocks is what was written.
fn open(bytes: &[u8]) -> Result<(u64, Sections), Damage> {
    let (footer, footer_at) = check_ends(bytes)?;
    let damaged = |what| Damage { part: Part::Directory, at: footer.directory_at, what };
    let directory = footer_at.checked_sub(footer.directory_at);
    let directory = directory.and_then(|length| slice(bytes, footer.directory_at, length));
    let Some(mut directory) = directory.filter(|directory| checksum(directory) == footer.directory_checksum) else {
        return Err(damaged("its checksum does not match"));
    };
    let mut sections = Sections::default();
    let mut templates = Templates::default();
    let (mut at, mut ids, mut blocks) = (HEADER_BYTES as u64, 0u64, 0u64);
    for _ in 0..footer.sections {
        let Some((section, rest)) = Section::read(directory) else {
            return Err(damaged("an entry is none that was written"));
        };
        if section.blocks_at != at || section.first_block != blocks || section.index_at < at {
            return Err(damaged("a section does not follow the one before"));
        }
        directory = rest;
        at = section.index_at.saturating_add(section.index_bytes);
        ids = ids.saturating_add(section.ids);
        blocks = blocks.saturating_add(section.blocks);
        sections.open(bytes, section, &mut templates)?;
    }
    if at != footer.directory_at || ids != footer.ids || !directory.is_empty() {
        return Err(damaged("it does not describe the whole file"));
    }
    sections.templates = Arc::new(templates);
    Ok((ids, sections))
}

impl Sections {
    fn open(&mut self, bytes: &[u8], section: Section, templates: &mut Templates) -> Result<(), Damage> {
        let twice = section.damage("there is another section of its kind");
        if section.kind == SectionKind::Strings {
            self.strings_have_templates = section.strings_have_templates;
            let opened = StringSection::open(bytes, section)?;
            return if self.strings.replace(opened).is_none() { Ok(()) } else { Err(twice) };
        }
        if section.kind == SectionKind::Filter {
            return if self.filter.replace(Filter::open(bytes, section)?).is_none() { Ok(()) } else { Err(twice) };
        }
        let is_wide = section.kind == SectionKind::WideNumbers;
        if section.template.is_empty() {
            let first = if is_wide {
                self.wide_numbers.replace(NumberSection::open(bytes, section)?).is_none()
            } else {
                self.numbers.replace(NumberSection::open(bytes, section)?).is_none()
            };
            return if first { Ok(()) } else { Err(twice) };
        }
        let template = Template::new(&section.template).filter(|template| template.is_short() != is_wide);
        let Some(template) = template else { return Err(section.damage("its template is none that was written")) };
        if templates.find(template.key()).is_some() {
            return Err(twice);
        }
        templates.add(template);
        self.of_templates.push(if is_wide {
            OfTemplate::Wide(NumberSection::open(bytes, section)?)
        } else {
            OfTemplate::Short(NumberSection::open(bytes, section)?)
        });
        Ok(())
    }
}

/// Header and footer: what can be said without reading anything else.
fn check_ends(bytes: &[u8]) -> Result<(Footer, u64), Damage> {
    let damaged = |part, at: usize, what| Err(Damage { part, at: at as u64, what });
    let header = bytes.get(..HEADER_BYTES).unwrap_or(bytes);
    if !header.starts_with(&MAGIC) {
        return damaged(Part::Header, 0, "this is not an id file");
    }
    if u32_at(header, MAGIC.len()) != Some(VERSION) {
        return damaged(Part::Header, MAGIC.len(), "its format version is not 3, the one that is known here");
    }
    let footer_at = bytes.len().saturating_sub(FOOTER_BYTES).max(HEADER_BYTES);
    let footer = bytes.get(footer_at..).unwrap_or_default();
    if footer.get(FOOTER_BYTES - MAGIC.len()..) != Some(MAGIC.as_slice()) {
        return damaged(Part::Footer, footer_at, "the file does not end with one; it was cut short or added to");
    }
    let sealed = footer.get(..FOOTER_SEALED_BYTES).map(|sealed| seal(header, sealed));
    match Footer::read(footer) {
        Some(read) if sealed == u64_at(footer, FOOTER_SEALED_BYTES) => Ok((read, footer_at as u64)),
        _ => damaged(Part::Footer, footer_at, "its checksum does not match"),
    }
}
