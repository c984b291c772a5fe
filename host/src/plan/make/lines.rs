//! What a job knows of JSON Lines before it reads them: columns that are declared, or that are found in a sample; what was fixed
//! when the job began stays.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use bytes::Bytes;
use futures::StreamExt;

use super::super::PlanError;
use super::Draft;
use super::settings::value_or;
use crate::commit::{self, Root};
use crate::config::{self, At, shown};
use crate::format::compression::Compression;
use crate::format::jsonl::infer::{InferError, Inference};
use crate::format::jsonl::read::JsonLines;
use crate::format::jsonl::sample::{self, Head};
use crate::format::jsonl::{EXTRA_COLUMN, ExtraKeys, types};
use crate::message::Message;
use crate::source::{Fetch, Object, SourceError};
use crate::store::Store;

/// Objects whose first lines are looked at, from the first to the last by name.
const SAMPLED_MAX: usize = 32;
/// Heads that are fetched at once.
const HEADS_AT_ONCE: usize = 8;
/// Bytes of a line where the pipeline file says nothing, if memory allows.
const RECORD_BYTES_MAX: u64 = 64 << 20;
/// Of a run whose memory is small.
const RECORD_BYTES_MIN: u64 = 1 << 20;

impl Draft<'_> {
    /// How lines are read; none if something is wrong with that, which is a problem.
    pub(super) async fn json_lines(
        &mut self,
        store: &Store,
        objects: &[Object],
        root: Option<&Root>,
        readers: usize,
    ) -> Result<Option<JsonLines>, PlanError> {
        let extra_keys = self.extra_keys();
        let declared = match &self.config.source.schema {
            Some(written) => match self.declared(written) {
                Some(schema) => Some(schema),
                None => return Ok(None),
            },
            None => None,
        };
        let schema = match root {
            Some(root) => self.pinned(root, declared, extra_keys)?,
            None => match declared {
                Some(schema) => Some(schema),
                None => self.found(store, objects).await?,
            },
        };
        Ok(schema.and_then(|schema| self.format(&schema, extra_keys, readers)))
    }

    fn extra_keys(&self) -> ExtraKeys {
        match self.config.source.extra_keys() {
            config::ExtraKeys::Refuse => ExtraKeys::Refuse,
            config::ExtraKeys::Drop => ExtraKeys::Drop,
            config::ExtraKeys::Keep => ExtraKeys::Keep,
        }
    }

    fn declared(&mut self, written: &At<Vec<(At<String>, At<String>)>>) -> Option<SchemaRef> {
        let problems_before = self.problems.len();
        let mut fields = Vec::with_capacity(written.value.len());
        for (name, text) in &written.value {
            match types::field(&name.value, &text.value) {
                Ok(field) => fields.push(field),
                Err(error) => {
                    let hint = format!("types are {}", config::list(&types::WORDS.map(str::to_owned), "and"));
                    self.problem(
                        text,
                        Message::new(format!("the type of `{}`: {error}", shown(&name.value))).hint(hint),
                    );
                }
            }
        }
        (self.problems.len() == problems_before).then(|| Arc::new(Schema::new(fields)))
    }

    /// What was fixed when the job began. To declare something else is a mistake.
    fn pinned(
        &mut self,
        root: &Root,
        declared: Option<SchemaRef>,
        extra_keys: ExtraKeys,
    ) -> Result<Option<SchemaRef>, PlanError> {
        let pinned = commit::schema_from_hex(&root.genesis.source_schema)?;
        let keeps = pinned.column_with_name(EXTRA_COLUMN).is_some();
        let fields = pinned.fields().iter().filter(|field| !keeps || field.name() != EXTRA_COLUMN).cloned();
        let keyed: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let problems_before = self.problems.len();
        let config = self.config;
        if let (Some(declared), Some(written)) = (declared, &config.source.schema)
            && texts(&declared) != texts(&keyed)
        {
            let what = format!("the job began with other columns: {}", texts(&keyed).join(", "));
            self.problem(written, Message::new(what).hint(FIXED));
        }
        let written = config.source.extra_keys.as_ref();
        match (keeps, extra_keys == ExtraKeys::Keep, written, &config.source.path) {
            (false, true, Some(written), _) => {
                let what = "the job began without the column of kept keys";
                self.problem(written, Message::new(what).hint(FIXED));
            }
            (true, false, Some(written), _) => {
                self.problem(written, Message::new("the job began with extra_keys = \"keep\"").hint(FIXED));
            }
            (true, false, None, Some(path)) => {
                self.problem(path, Message::new("the job began with extra_keys = \"keep\" under [source]").hint(FIXED));
            }
            _ => {}
        }
        Ok((self.problems.len() == problems_before).then_some(keyed))
    }

    /// The columns of the first lines of some objects.
    async fn found(&mut self, store: &Store, objects: &[Object]) -> Result<Option<SchemaRef>, PlanError> {
        let Some(written) = &self.config.source.path else { return Ok(None) };
        let sampled = super::footers::spread(objects, SAMPLED_MAX);
        let sampled_count = sampled.len();
        let heads: Vec<_> = sampled.into_iter().map(|object| head(store, object)).collect();
        let mut heads = futures::stream::iter(heads).buffered(HEADS_AT_ONCE);
        let (mut found, mut refused) = (Inference::default(), None);
        while let Some(head) = heads.next().await {
            let (object, head) = head?;
            match sample::add(&mut found, head) {
                Ok(first) => refused = refused.or(first.map(|first| (object, first))),
                Err(error) => {
                    self.problem(written, Message::of(&SourceError::of(&object.path, error)));
                    return Ok(None);
                }
            }
        }
        match (found.schema(), refused) {
            (Ok(schema), _) => {
                self.note_found(sampled_count);
                Ok(Some(Arc::new(schema)))
            }
            (Err(InferError::NoLine), Some((object, (line, refusal)))) => {
                let what = format!("no line is a row: the first, line {line} of {}: {refusal}", object.path);
                self.problem(written, Message::new(what).hint(NO_ROWS));
                Ok(None)
            }
            (Err(error), _) => {
                let what = format!("no columns were found in the first lines: {error}");
                let hint = "declare the columns with `schema` under [source], as in schema = { text = \"string\" }";
                self.problem(written, Message::new(what).hint(hint));
                Ok(None)
            }
        }
    }

    /// What a person may want to decide before a rare key ends the run.
    fn note_found(&mut self, objects: usize) {
        if self.config.source.extra_keys.is_none() {
            let what = format!(
                "the columns are those of the first lines of {objects} file(s); a line with another key will be no row"
            );
            let hint = "declare the columns with `schema` under [source], or decide on other keys with extra_keys = \"drop\" or \"keep\": \
                        columns cannot be added once the job has begun";
            self.notes.push(Message::new(what).hint(hint));
        }
    }

    fn format(&mut self, schema: &SchemaRef, extra_keys: ExtraKeys, readers: usize) -> Option<JsonLines> {
        let bytes_max = self.record_bytes_max(readers);
        match JsonLines::new(schema, extra_keys, usize::try_from(bytes_max).unwrap_or(usize::MAX)) {
            Ok(format) => Some(format),
            Err(error) => {
                let config = &self.config.source;
                let hint =
                    "declare other columns with `schema` under [source]; a key of any other name or type can be `json`";
                match (&config.schema, &config.path) {
                    (Some(written), _) => self.problem(written, Message::new(error.to_string()).hint(hint)),
                    (None, Some(written)) => self.problem(written, Message::new(error.to_string()).hint(hint)),
                    (None, None) => {}
                }
                None
            }
        }
    }

    /// A line is there as it stands, decoded, and perhaps as a dead letter.
    fn record_bytes_max(&self, readers: usize) -> u64 {
        let memory = self.config.run.memory_bytes_max.as_ref();
        let fits = memory.map_or(RECORD_BYTES_MAX, |memory| memory.value / 8 / readers as u64);
        value_or(self.config.source.record_bytes_max.as_ref(), fits.clamp(RECORD_BYTES_MIN, RECORD_BYTES_MAX))
    }

    /// Keys that say how lines are read, of a source that has none.
    pub(super) fn refuse_keys_of_lines(&mut self) {
        let source = &self.config.source;
        let spans = [
            ("schema", source.schema.as_ref().map(|written| &written.span)),
            ("extra_keys", source.extra_keys.as_ref().map(|written| &written.span)),
            ("on_bad_line", source.on_bad_line.as_ref().map(|written| &written.span)),
            ("record_bytes_max", source.record_bytes_max.as_ref().map(|written| &written.span)),
        ];
        for (key, span) in spans {
            if let Some(span) = span {
                let message = Message::new(format!("`{key}` is for JSON Lines, and the source is Parquet"));
                self.problem_at(
                    span,
                    message.hint("remove it; or name files that end in .jsonl, or write format = \"jsonl\""),
                );
            }
        }
    }

    /// Keys that say how files with footers are read.
    pub(super) fn refuse_keys_of_footers(&mut self) {
        if let Some(written) = &self.config.source.footers_max {
            let message =
                Message::new("`footers_max` is for Parquet, and the source is JSON Lines, which has no footers");
            self.problem(written, message.hint("remove it"));
        }
    }
}

const NO_ROWS: &str = "JSON Lines have one object a line; a file that is one array, or one object over many lines, becomes such with \
                       `jq -c '.[]'` or `jq -c .`";
const FIXED: &str = "columns and their types are fixed for a job's life: write what it began with; or begin a new job with another \
                     checkpoint and an empty sink";

async fn head<'a>(store: &Store, object: &'a Object) -> Result<(&'a Object, Head), SourceError> {
    let bytes = match object.size {
        0 => Bytes::new(),
        size => {
            let head = 0..size.min(sample::HEAD_BYTES);
            let mut parts = Fetch::new(store, object).ranges(&[head]).await?;
            parts.pop().expect("one range")
        }
    };
    let is_all = bytes.len() as u64 == object.size;
    Ok((object, Head { bytes, is_all, compression: Compression::of_name(&object.path) }))
}

/// `name: type`, as people write them.
fn texts(schema: &Schema) -> Vec<String> {
    let text = |field: &Arc<Field>| {
        let data_type = types::text(field).unwrap_or_else(|| field.data_type().to_string());
        format!("{}: {data_type}", field.name())
    };
    schema.fields().iter().map(text).collect()
}
