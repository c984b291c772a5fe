//! The steps from a pipeline file to a plan. Mistakes are collected as they are found, those of the file as it is written
//! first, and reported together. A step that needs what an earlier mistake hides is left out, so that no mistake is said
//! twice; all others are taken.
//!
//! * `places` - where rows come from and go to.
//! * `footers` - the schema of all objects, and what it does not suit; `lines` - that of JSON Lines.
//! * `bind` - what flows from stage to stage.
//! * `memory` - how much of it who may have.
//! * `settings` - what the pipeline file says of the rest, and what holds where it does not.

mod bind;
mod footers;
mod lines;
mod memory;
mod places;
mod settings;

use std::collections::{HashMap, HashSet};
use std::iter;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};

use super::chain::{self, Link};
use super::fingerprint::{differences, fingerprint};
use super::{Ids, Options, Plan, PlanError, Source};
use crate::annotations;
use crate::commit::{self, GivenUp, Root};
use crate::config::{self, At, Config, Problem, Problems};
use crate::format::parquet::Parquet;
use crate::message::Message;
use crate::sink;
use crate::source::{self, Columns, FileKind, Format, Survey};
use crate::udf;
pub(super) use bind::foreseen;
use bind::{Bindings, Bound};
use footers::Footers;
use memory::{Memory, Users};
use places::{OtherJobs, Stores};
pub use settings::settings_of;
use settings::{Crew, dead_letters, group_limits, new_job, on_error, results};

/// Makes the plan, or says everything that is wrong.
pub async fn make(config: &Config, options: &Options) -> Result<Plan, PlanError> {
    let problems = config.problems.clone();
    let mut draft = Draft { config, options, problems, notes: Vec::new(), folder_keys: Vec::new(), given_up: None };
    match draft.make().await {
        Ok(Some(plan)) if draft.problems.is_empty() => Ok(plan),
        // What a store says while the file has mistakes can wait: they have to be mended in any case.
        Err(error) if draft.problems.is_empty() => Err(error),
        _ => Err(PlanError::Problems(Problems(draft.problems))),
    }
}

struct Draft<'a> {
    config: &'a Config,
    options: &'a Options,
    problems: Vec<Problem>,
    /// What a person should know, though nothing is wrong.
    notes: Vec<Message>,
    /// Names that stand before a `=` in names of folders.
    folder_keys: Vec<String>,
    /// What is given up before the job begins.
    given_up: Option<GivenUp>,
}

/// What is known of the source's objects; nothing of what is wrong.
#[derive(Default)]
struct Readable {
    format: Option<Arc<dyn Format>>,
    schema: Option<SchemaRef>,
    footers: Option<Footers>,
}

impl Draft<'_> {
    /// All steps, as far as each can be taken. No plan if one could not; then there is a problem.
    async fn make(&mut self) -> Result<Option<Plan>, PlanError> {
        let config = self.config;
        let stores = self.stores();
        let components = self.components();
        let keys = config.checkpoint.clone().unwrap_or_default();
        let group = group_limits(&keys);
        let crew = Crew::of(&config.run, group);
        let memory = self.memory(crew);
        let (root, finished) = self.job(&stores).await?;
        let found = self.objects(&stores, root.as_ref()).await?;
        let objects = found.as_ref().map_or_else(Default::default, |found| found.objects.as_slice());
        self.folder_keys = source::folder_keys(objects).into_iter().map(Into::into).collect();
        let Readable { format, schema, footers } =
            self.readable(&stores, found.as_ref(), root.as_ref(), crew.readers).await?;
        let id_fields = self.id_fields(schema.as_deref());
        let Bindings { bound, last, wanted } = self.bind(&components, schema.as_ref());
        let sink_names = self.sink_columns(last.as_deref());
        let id_names: Vec<String> = id_fields.iter().flatten().map(|field| field.name().clone()).collect();
        if let Some(footers) = &footers {
            self.check_footers(footers, &id_names, &wanted);
        }
        let Stores { source: Some((_, source)), sink: Some(sink), checkpoint: Some(checkpoint) } = stores else {
            return Ok(None);
        };
        let (Some(schema), Some(last), Some(format)) = (schema, last, format) else { return Ok(None) };
        let Some(Survey { objects, passed, pattern, .. }) = found else { return Ok(None) };
        if !self.problems.is_empty() {
            return Ok(None);
        }

        let links: Vec<Link> = bound.iter().map(Bound::link).collect();
        let (needed, places) = chain::link(&schema, &id_names, &links, &sink_names);
        self.note_folders(&schema);
        let columns = self.columns(&schema, &needed, id_names);
        let read = standing(&columns.schema);
        let to_stages = needed.fields().iter().map(|field| read[field.name().as_str()]).collect();
        let sink_schema = schema_of(&schema, &last, &sink_names, &links);
        let ids = id_fields.map(|fields| ids_of(fields, &read));
        let before_sink = standing(places.last().map_or(&needed, |place| &place.output));
        let sink_columns = sink_names.iter().map(|name| before_sink[name.as_str()]).collect();
        let specs: Vec<udf::Spec> = bound.iter().map(|bound| bound.spec.clone()).collect();
        let results = results(config, sink_schema, memory);
        if !self.can_be_written(&results) {
            return Ok(None);
        }
        let fingerprint = fingerprint(&*format, ids.as_ref().map(|ids| &ids.schema), &specs, &results);
        let Ok(finished_before) = self.same_job(finished, &source, &objects, &fingerprint) else { return Ok(None) };
        let accepted = match &root {
            Some(root) => accept_changes(root, &fingerprint, self.options.accept_change)?,
            None => Vec::new(),
        };
        let on_bad_line = on_error(config.source.on_bad_line());
        let of_letters = commit::letter_schema(&schema, &columns.schema, fingerprint.has_lines());
        let letters = self.has_dead_letters().then(|| dead_letters(config, of_letters, memory));
        let sink = sink::Spec { store: sink, outputs: iter::once(results).chain(letters).collect() };
        let stages = bound.into_iter().zip(places).map(|(bound, places)| bound.stage(places, memory.answers)).collect();
        let rows = footers.and_then(|footers| footers.rows_of(objects.len()));
        Ok(Some(Plan {
            file: config.file.path().into(),
            notes: std::mem::take(&mut self.notes),
            engine: Arc::clone(&self.options.engine),
            source: Source {
                store: source,
                pattern,
                format,
                on_bad_line,
                columns,
                to_stages,
                schema,
                objects,
                passed,
                rows,
            },
            ids,
            stages,
            sink,
            sink_columns,
            checkpoint,
            is_durable: config.checkpoint.is_some(),
            root,
            shared: config.sink.shared(),
            finished_before,
            given_up: std::mem::take(&mut self.given_up),
            fingerprint,
            accepts_change: self.options.accept_change,
            accepted,
            lanes: self.options.lanes.clone(),
            take_over: self.options.take_over,
            relocate: self.options.relocate,
            retry_failed: self.options.retry_failed,
            genesis: new_job(&keys),
            compact_entries: keys.compact_entries(),
            heartbeat: keys.heartbeat_seconds(),
            delete_on_success: keys.delete_on_success(),
            group,
            run: crew.run(&config.run, memory),
            cache: self.options.cache.clone(),
            cache_ids_bytes_max: self.options.cache_ids_bytes_max,
        }))
    }

    /// The job that has begun, if one has; else one that may have done what this one would.
    async fn job(&mut self, stores: &Stores) -> Result<(Option<Root>, Option<OtherJobs>), PlanError> {
        let problems_before = self.problems.len();
        self.given_up = self.given_up(stores).await?;
        let root = self.root(stores).await?;
        let finished = match self.problems.len() == problems_before {
            true => self.finished_job(stores, root.as_ref()).await?,
            false => None,
        };
        Ok((root, finished))
    }

    /// What is read of a source of these columns, if the job needs some of them.
    fn columns(&self, schema: &SchemaRef, needed: &SchemaRef, required: Vec<String>) -> Columns {
        Columns {
            schema: Arc::clone(if self.keeps_full_rows() { schema } else { needed }),
            known: self.reads_all().then(|| Arc::clone(schema)),
            required,
        }
    }

    /// How the source is read, and what is in it.
    async fn readable(
        &mut self,
        stores: &Stores,
        found: Option<&Survey>,
        root: Option<&Root>,
        readers: usize,
    ) -> Result<Readable, PlanError> {
        let (Some(found), Some((_, store))) = (found, &stores.source) else { return Ok(Readable::default()) };
        if root.is_none() && !self.refuse_nothing(found) {
            return Ok(Readable::default());
        }
        match found.kind {
            FileKind::Parquet => {
                self.refuse_keys_of_lines();
                let footers = self.footers(stores, found, root).await?;
                let schema = source_schema(root, footers.as_ref())?;
                Ok(Readable { format: Some(Arc::new(Parquet)), schema, footers })
            }
            FileKind::JsonLines => {
                self.refuse_keys_of_footers();
                let lines = self.json_lines(store, &found.objects, root, readers).await?;
                let schema = lines.as_ref().map(|lines| Arc::clone(lines.schema()));
                let format = lines.map(|lines| Arc::new(lines) as Arc<dyn Format>);
                Ok(Readable { format, schema, footers: None })
            }
        }
    }

    fn memory(&mut self, crew: Crew) -> Memory {
        let users = crew.users(self.config);
        let run = &self.config.run;
        Memory::of(run, users).unwrap_or_else(|least| {
            if let Some(written) = &run.memory_bytes_max {
                self.problem(written, too_little(users, least, self.config));
            }
            Memory::ample()
        })
    }

    fn has_dead_letters(&self) -> bool {
        let stages = self.config.stages.iter().map(config::Stage::on_error);
        let mut written = stages.chain([self.config.source.on_bad_line()]);
        written.any(|on_error| on_error == config::OnError::DeadLetter)
    }

    fn keeps_full_rows(&self) -> bool {
        self.has_dead_letters() && self.config.dead_letters.full_row()
    }

    /// Whether the sink's format has the columns that are written.
    fn can_be_written(&mut self, results: &sink::Output) -> bool {
        let (checked, written) = (results.format.check(&results.schema), &self.config.sink.format);
        if let (Err(error), Some(written)) = (&checked, written) {
            let hint = "leave it out with `columns` under [sink], or write format = \"parquet\"";
            self.problem(written, Message::new(error.to_string()).hint(hint));
        }
        checked.is_ok()
    }

    fn problem<T>(&mut self, at: &At<T>, message: impl Into<Message>) {
        self.problem_at(&at.span, message);
    }

    fn problem_at(&mut self, span: &Range<usize>, message: impl Into<Message>) {
        self.problems.push(self.config.file.problem_at(span, message));
    }
}

/// What does not fit into the memory of a run.
fn too_little(users: Users, least: u64, config: &Config) -> Message {
    let Users { workers, readers, worker, answers, block } = users;
    let mut takes = Vec::new();
    let mut less = Vec::new();
    if worker > 0 {
        let (worker, answers) = (mebibytes(worker), mebibytes(answers));
        takes.push(format!(
            "{workers} workers have functions that may take {worker} each, with an answer, and a block may become {answers}"
        ));
        less.push("give the stages a smaller `memory_bytes_max`");
    }
    let rest = mebibytes(users.least_rest());
    match config.run.block_bytes_max.is_some() && users.blocks() > users.buffers() {
        true => {
            let block = mebibytes(block);
            takes.push(format!(
                "{workers} workers and {readers} readers take {rest} beside, with block_bytes_max = \"{block}\""
            ));
            less.push("lower `block_bytes_max`");
        }
        false => takes.push(format!("{workers} workers and {readers} readers take {rest} beside")),
    }
    let (takes, less, least) = (takes.join("; "), less.join(", or "), mebibytes(least));
    let or = if less.is_empty() { "" } else { ", or " };
    Message::new(format!("a run of this job takes more memory: {takes}")).hint(format!(
        "memory_bytes_max = \"{least}\" is the least that does; or {less}{or}give the run fewer `workers` and `readers`"
    ))
}

/// Rounded up.
fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// The differences, if they may be and are accepted.
fn accept_changes(root: &Root, is: &crate::commit::Fingerprint, accepts: bool) -> Result<Vec<String>, PlanError> {
    let was = &root.fingerprint;
    let lines = differences(was, is);
    if lines.is_empty() {
        return Ok(lines);
    }
    let report = format!("the job differs from the one that the checkpoint belongs to:\n  {}", lines.join("\n  "));
    if was.ids != is.ids || was.source_format != is.source_format {
        let hint = "id columns and source format are fixed for a job's life: begin a new one with another checkpoint and an empty sink";
        return Err(PlanError::refused(report, hint));
    }
    if accepts {
        return Ok(lines);
    }
    let hint = "rows that are done keep their results. Go on for the others with --accept-change, or begin a new job with another \
                checkpoint and an empty sink";
    Err(PlanError::refused(report, hint))
}

fn source_schema(root: Option<&Root>, footers: Option<&Footers>) -> Result<Option<SchemaRef>, PlanError> {
    match root {
        Some(root) => Ok(Some(commit::schema_from_hex(&root.genesis.source_schema)?)),
        None => Ok(footers.map(Footers::schema)),
    }
}

/// The identity of rows, among the columns that are read.
fn ids_of(fields: Vec<Field>, read: &HashMap<&str, usize>) -> Ids {
    let places = fields.iter().map(|field| read[field.name().as_str()]).collect();
    Ids { places, schema: Arc::new(Schema::new(fields)) }
}

/// Where each column stands. Schemas look through all their columns for one, and there are tens of thousands.
fn standing(schema: &Schema) -> HashMap<&str, usize> {
    let fields = schema.fields().iter().enumerate().rev();
    fields.map(|(place, field)| (field.name().as_str(), place)).collect()
}

/// The columns of the sink. What the source says of whole files goes along, as far as it is true of these.
fn schema_of(source: &Schema, last: &Schema, names: &[String], links: &[Link]) -> SchemaRef {
    let is_made = |name: &str| links.iter().any(|link| link.adds.field_with_name(name).is_ok());
    let places = standing(last);
    let field = |name: &String| {
        let field = last.field(places[name.as_str()]);
        if is_made(name) { annotations::made(field) } else { field.clone() }
    };
    let schema = Schema::new(names.iter().map(field).collect::<Vec<_>>());
    let untouched: HashSet<&str> = names.iter().map(String::as_str).filter(|name| !is_made(name)).collect();
    let metadata = annotations::keys_for(source, &schema, &untouched);
    Arc::new(schema.with_metadata(metadata))
}
