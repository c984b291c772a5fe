//! Strings sorted by their templates: [`Templates`] are those of a set, [`Classifier`] finds each string's, [`Groups`] are the
//! numbers that came of them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::column::Strings;
use crate::template::{Template, key_of};

/// Templates by number, and by key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Templates {
    all: Vec<Arc<Template>>,
    by_key: HashMap<Box<[u8]>, usize>,
}

impl Templates {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn get(&self, number: usize) -> &Template {
        &self.all[number]
    }

    pub(crate) fn find(&self, key: &[u8]) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    /// The new template's number.
    pub(crate) fn add(&mut self, template: Template) -> usize {
        let number = self.all.len();
        self.by_key.insert(template.key().into(), number);
        self.all.push(Arc::new(template));
        number
    }
}

/// Numbers of one template in one batch, and the rows that they came from.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) short: Vec<u64>,
    pub(crate) wide: Vec<u128>,
    pub(crate) rows: Vec<u32>,
}

/// Rows of a batch by template.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// By the number of the template.
    pub(crate) groups: Vec<Group>,
    /// Rows without one of these templates.
    pub(crate) others: Vec<u32>,
}

impl Groups {
    /// Memory is kept for groups that are still as large: what comes ordered by template would leave a large one for each.
    pub(crate) fn clear(&mut self) {
        for group in self.groups.iter_mut().filter(|group| group.rows.capacity() > 0) {
            if group.rows.capacity() > 4 * group.rows.len() + 16 {
                *group = Group::default();
            }
            group.short.clear();
            group.wide.clear();
            group.rows.clear();
        }
        self.others.clear();
    }
}

const GUESSES: usize = 1024;

/// Finds templates. Strings of the same length and first letter are likely to have the same one.
pub(crate) struct Classifier {
    guesses: Box<[u32; GUESSES]>,
    key: Vec<u8>,
}

impl Classifier {
    pub(crate) fn new() -> Classifier {
        Classifier { guesses: Box::new([u32::MAX; GUESSES]), key: Vec::new() }
    }

    /// Adds these rows to the groups. `unknown` is told each key that is not one of the templates', and may make it one.
    pub(crate) fn classify(
        &mut self,
        strings: &Strings<'_>,
        rows: Range<usize>,
        templates: &mut Arc<Templates>,
        groups: &mut Groups,
        mut unknown: impl FnMut(&mut Arc<Templates>, &[u8]) -> Option<usize>,
    ) {
        groups.groups.resize_with(templates.len(), Group::default);
        let mut row = rows.start;
        while row < rows.end {
            let id = strings.get(row);
            let guess = guess(id);
            let likely = self.guesses[guess] as usize;
            if let Some(group) = groups.groups.get_mut(likely) {
                let taken = take(templates.get(likely), strings, row..rows.end, group);
                row += taken;
                if taken > 0 {
                    continue;
                }
            }
            let found = if key_of(id, &mut self.key) {
                templates.find(&self.key).or_else(|| unknown(templates, &self.key))
            } else {
                None
            };
            groups.groups.resize_with(templates.len(), Group::default);
            let Some(template) = found else {
                groups.others.push(row as u32);
                row += 1;
                continue;
            };
            self.guesses[guess] = template as u32;
            let taken = take(templates.get(template), strings, row..rows.end, &mut groups.groups[template]);
            assert!(taken > 0, "a template takes a string that has its key");
            row += taken;
        }
    }
}

#[inline]
fn guess(id: &[u8]) -> usize {
    let first = id.first().map_or(0, |byte| if byte.is_ascii_digit() { 0 } else { usize::from(*byte) });
    (first * 37 + id.len()) % GUESSES
}

/// Takes rows up to the first of another template; says how many.
fn take(template: &Template, strings: &Strings<'_>, rows: Range<usize>, group: &mut Group) -> usize {
    let before = group.short.len() + group.wide.len();
    let ids = rows.clone().map(|row| strings.get(row));
    if template.is_short() {
        group.short.extend(ids.map_while(|id| template.short_number(id)));
    } else {
        group.wide.extend(ids.map_while(|id| template.number(id)));
    }
    let taken = group.short.len() + group.wide.len() - before;
    group.rows.extend((rows.start..rows.start + taken).map(|row| row as u32));
    taken
}
