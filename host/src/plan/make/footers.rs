//! What a new job finds in the footers of its objects: one schema for all of them, their rows, ids that lack a value. A job
//! that has begun knows its schema, and finished objects stay closed.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use futures::StreamExt;

use super::super::{PlanError, nearby};
use super::Draft;
use super::places::Stores;
use crate::annotations;
use crate::commit::Root;
use crate::config::shown;
use crate::format::parquet::Parquet;
use crate::message::Message;
use crate::source::{self, Object, Opened, SourceError, Survey, Union};
use crate::store::Store;

/// Of more than `footers_max` objects, footers of so many, from the first to the last. The others are checked as they are read.
const FOOTERS_OF_MORE: usize = 64;
/// Footers that are in memory at a time.
const FOOTERS_AT_ONCE: usize = 16;

/// What the footers say that were read.
#[derive(Default)]
pub(super) struct Footers {
    union: Union,
    /// What the objects so far agree on about their columns beside the types.
    agreed: Option<SchemaRef>,
    /// What the last one said; most say the same.
    last: Option<SchemaRef>,
    packed: Vec<Packed>,
    /// Rows of the objects that were looked at.
    rows: u64,
    /// How many those are.
    count: usize,
    lacking: Vec<Lacking>,
    /// Columns with ordered dictionaries.
    ordered: BTreeSet<String>,
}

/// A column of an object whose pages nobody here can unpack.
struct Packed {
    object: Arc<str>,
    column: String,
    error: SourceError,
}

/// An object some of whose rows have no id.
struct Lacking {
    object: Arc<str>,
    id: String,
    /// As many as the footer counts; all if there is no such column.
    nulls: Option<u64>,
}

impl Footers {
    /// The columns of all objects.
    pub(super) fn schema(&self) -> SchemaRef {
        self.agreed.as_ref().map_or_else(|| self.union.schema(), Arc::clone)
    }

    /// The rows of so many objects, if all were looked at.
    pub(super) fn rows_of(&self, objects: usize) -> Option<u64> {
        (self.count == objects).then_some(self.rows)
    }

    fn add(&mut self, opened: &Opened, ids: &[&str]) -> Result<(), SourceError> {
        let (object, schema) = (&opened.object.path, opened.schema());
        let annotated = opened.annotated_schema()?;
        self.union.add(&schema, object);
        self.agree(annotated);
        self.rows += opened.rows;
        self.count += 1;
        self.packed.extend(opened.unreadable().into_iter().map(|(column, error)| Packed {
            object: Arc::clone(object),
            column: column.to_owned(),
            error,
        }));
        self.add_lacking(opened, &schema, ids);
        self.ordered.extend(opened.ordered_columns().into_iter().map(str::to_owned));
        Ok(())
    }

    /// Objects agree one after another as they do all at once: what one does not say, none says again.
    fn agree(&mut self, annotated: SchemaRef) {
        if self.last.as_ref() == Some(&annotated) {
            return;
        }
        let both: Vec<SchemaRef> = self.agreed.take().into_iter().chain([Arc::clone(&annotated)]).collect();
        self.agreed = Some(annotations::agreed(&self.union.schema(), &both));
        self.last = Some(annotated);
    }

    fn add_lacking(&mut self, opened: &Opened, schema: &Schema, ids: &[&str]) {
        let object = &opened.object.path;
        for id in ids {
            let nulls = match schema.index_of(id) {
                Ok(_) => opened.nulls(id).filter(|nulls| *nulls > 0).map(Some),
                Err(_) => Some(None),
            };
            let lacking = nulls.map(|nulls| Lacking { object: Arc::clone(object), id: (*id).to_owned(), nulls });
            self.lacking.extend(lacking);
        }
    }
}

impl Draft<'_> {
    /// A new job has work to do.
    pub(super) fn refuse_nothing(&mut self, found: &Survey) -> bool {
        let Some(written) = &self.config.source.path else { return false };
        if found.objects.is_empty() {
            let message = format!("`{}` takes no file: the source has no object", shown(&written.value));
            let message = Message { details: found.passed.lines(), ..Message::new(message) };
            self.problem(written, message.hint(nearby::hint_for_none(found.pattern.root())));
        }
        !found.objects.is_empty()
    }

    /// The footers that a new job may look at.
    pub(super) async fn footers(
        &mut self,
        stores: &Stores,
        found: &Survey,
        root: Option<&Root>,
    ) -> Result<Option<Footers>, PlanError> {
        let config = self.config;
        let (Some((_, store)), Some(written), None) = (&stores.source, &config.source.path, root) else {
            return Ok(None);
        };
        let ids = config.source.id.iter().flat_map(|ids| &ids.value).map(|name| name.value.as_str());
        let ids: Vec<&str> = ids.collect();
        let looked_at = looked_at(&found.objects, config.source.footers_max());
        let opens: Vec<_> = looked_at.into_iter().map(|object| open(store, object)).collect();
        let mut opened = futures::stream::iter(opens).buffered(FOOTERS_AT_ONCE);
        let mut footers = Footers::default();
        while let Some(opened) = opened.next().await {
            match opened.and_then(|opened| footers.add(&opened, &ids)) {
                Ok(()) => {}
                Err(error @ SourceError::Bad { .. }) => self.problem(written, Message::of(&error)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(footers).filter(|footers| footers.count > 0))
    }

    /// Columns that differ too much, and ids that lack, as the footers give them away. `wanted` are the columns that
    /// stages need.
    pub(super) fn check_footers(&mut self, footers: &Footers, ids: &[String], wanted: &[String]) {
        let config = self.config;
        let Some(written) = &config.source.path else { return };
        let sink = config.sink.columns.iter().flat_map(|columns| &columns.value).map(|name| &name.value);
        let named: HashSet<&str> = ids.iter().chain(wanted).chain(sink).map(String::as_str).collect();
        let reads_all = self.reads_all();
        for defect in footers.union.defects(|name| reads_all || named.contains(name)) {
            self.problem(written, Message::new(defect.what).hint(defect.hint));
        }
        let mut packed: Vec<&Packed> =
            footers.packed.iter().filter(|packed| reads_all || named.contains(packed.column.as_str())).collect();
        packed.dedup_by(|packed, before| packed.object == before.object);
        packed.iter().for_each(|packed| self.problem(written, Message::of(&packed.error)));
        for lacking in footers.lacking.iter().filter(|lacking| ids.contains(&lacking.id)) {
            let named = config.source.id.iter().flat_map(|ids| &ids.value).find(|name| name.value == lacking.id);
            self.problem(named.unwrap_or(written), lacking.message());
        }
        self.note_ordered(footers);
    }

    /// Warns of what the sink cannot keep of columns that it writes as they are.
    fn note_ordered(&mut self, footers: &Footers) {
        let sink: Option<HashSet<&str>> = self
            .config
            .sink
            .columns
            .as_ref()
            .map(|columns| columns.value.iter().map(|name| name.value.as_str()).collect());
        let is_written = |name: &&String| sink.as_ref().is_none_or(|sink| sink.contains(name.as_str()));
        let names: Vec<String> =
            footers.ordered.iter().filter(is_written).map(|name| format!("`{}`", shown(name))).collect();
        if !names.is_empty() {
            let what = format!(
                "the order of the categories of {} is not kept: values stay what they are, and the output has them unordered",
                crate::config::list(&names, "and")
            );
            self.notes
                .push(Message::new(what).hint("if the order matters, give it to who reads the output in another way"));
        }
    }

    /// Whether every column of the source is read.
    pub(super) fn reads_all(&self) -> bool {
        self.config.sink.columns.is_none() || self.keeps_full_rows()
    }

    /// Warns of what stands in the names of folders only.
    pub(super) fn note_folders(&mut self, schema: &Schema) {
        let is_lost = |key: &&String| schema.index_of(key).is_err();
        let keys: Vec<String> =
            self.folder_keys.iter().filter(is_lost).map(|key| format!("`{}`", shown(key))).collect();
        if let Some(first) = keys.first() {
            let what = format!(
                "folders of the source hold values of {} in their names ({}=...), but no object has such a column: names of \
                 folders are not read, and the values will not be in the output",
                crate::config::list(&keys, "and"),
                first.trim_matches('`')
            );
            self.notes.push(Message::new(what).hint("write them into the objects as columns if they are needed"));
        }
    }
}

impl Lacking {
    fn message(&self) -> Message {
        let Lacking { object, id, nulls } = self;
        let what = match nulls {
            None => format!("source object {object} has no column `{id}`, by which rows are known"),
            Some(1) => format!("source object {object} has 1 null in the id column `{id}`"),
            Some(nulls) => format!("source object {object} has {nulls} nulls in the id column `{id}`"),
        };
        Message::new(what).hint("give every row an id, or leave `id` out so that rows are known by position")
    }
}

async fn open(store: &Store, object: &Object) -> Result<Opened, SourceError> {
    source::open(store, &Parquet, object, 0).await
}

/// All objects, or some of them.
fn looked_at(objects: &[Object], footers_max: u64) -> Vec<&Object> {
    match objects.len() as u64 <= footers_max {
        true => objects.iter().collect(),
        false => spread(objects, FOOTERS_OF_MORE.min(usize::try_from(footers_max).unwrap_or(usize::MAX)).max(1)),
    }
}

/// So many objects at most, from the first to the last: what grows and changes does so along the names.
pub(super) fn spread(objects: &[Object], count: usize) -> Vec<&Object> {
    if objects.len() <= count {
        return objects.iter().collect();
    }
    let last = objects.len() - 1;
    (0..count).map(|place| &objects[place * last / (count - 1).max(1)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_objects_some_are_looked_at_from_the_first_to_the_last() {
        let object = |number: usize| Object { path: number.to_string().into(), size: 0, etag: None, modified_ms: 0 };
        let objects: Vec<Object> = (0..1001).map(object).collect();
        let looked = |footers_max| {
            looked_at(&objects, footers_max).iter().map(|object| object.path.as_ref()).collect::<Vec<_>>()
        };
        assert_eq!(looked(1001).len(), 1001);
        let some = looked(1000);
        assert_eq!((some.len(), some[0], some[1], some[63]), (64, "0", "15", "1000"));
        assert_eq!((looked(1), looked(2), looked(3)), (vec!["0"], vec!["0", "1000"], vec!["0", "500", "1000"]));
    }
}
