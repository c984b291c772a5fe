//! The steps from a pipeline file to a plan. Mistakes are collected as they are found and reported together; a step that
//! cannot be taken because of an earlier mistake is left out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Field, Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;

use super::chain::{self, Link};
use super::fingerprint::{differences, fingerprint};
use super::{Ids, OnError, Options, Plan, PlanError, Run, Source, Stage};
use crate::commit::{self, GroupLimits, Root};
use crate::config::{self, At, Config, Problem, Problems};
use crate::filter;
use crate::sink;
use crate::source::{self, BlockSize, Columns, Object, Opened, Pattern, SourceError};
use crate::store::Store;
use crate::udf;

/// Footers read while planning a new job: a source with more objects is checked file by file as it is read.
const FOOTERS_MAX: usize = 1000;
const FOOTERS_AT_ONCE: usize = 16;

const GROUP_ROWS_MAX: u64 = 4_000_000;
const GROUP_BYTES_MAX: u64 = 64 << 20;
const GROUP_TIME_MAX: Duration = Duration::from_secs(30);
const FILE_BYTES_MAX: u64 = 256 << 20;
const DRAIN: Duration = Duration::from_secs(60);
const BLOCK_ROWS_MAX: u32 = 64 * 1024;
const BLOCK_BYTES_MAX: u64 = 2 << 20;
const WINDOW_BYTES: u64 = 64 << 20;
const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// Makes the plan, or says everything that is wrong.
pub async fn make(config: &Config, options: &Options) -> Result<Plan, PlanError> {
    let mut draft = Draft { config, options, problems: Vec::new() };
    let engine = Arc::clone(&options.engine);
    let pattern = draft.pattern();
    let stores = draft.stores(pattern.as_ref())?;
    let components = draft.components(&engine);
    draft.end()?;
    let (pattern, components) = (pattern.expect("no problem"), components.expect("no problem"));
    let Stores { source, sink, checkpoint } = stores;

    let root = Root::read(&checkpoint).await?;
    if let Some(root) = &root {
        refuse_other_roots(root, &source, &sink, &checkpoint)?;
    }
    refuse_other_jobs(&draft, &sink, root.as_ref()).await?;
    let pattern = pattern.avoiding([&sink, &checkpoint].into_iter().filter_map(|own| own.local_root().map(Into::into)));
    let objects = source::list(&source, &pattern).await?;
    let footers = draft.footers(&source, &objects, root.as_ref()).await?;
    let schema = draft.source_schema(root.as_ref(), &footers)?;
    let id_fields = draft.id_fields(&schema);
    let (bound, last) = draft.bind(&engine, &components, &schema);
    let sink_names = draft.sink_columns(&last);
    draft.end()?;

    let links: Vec<Link> = bound.iter().map(Bound::link).collect();
    let id_names: Vec<String> = id_fields.iter().flatten().map(|field| field.name().clone()).collect();
    let (columns, places) = chain::link(&schema, &id_names, &links, &sink_names);
    let columns = Columns { schema: columns };
    draft.check_footers(&footers, &columns, &id_names);
    draft.end()?;

    let sink_schema = schema_of(&last, &sink_names);
    let ids = id_fields.map(|fields| Ids {
        places: fields.iter().map(|field| columns.schema.index_of(field.name()).expect("ids are read")).collect(),
        schema: Arc::new(Schema::new(fields)),
    });
    let before_sink = places.last().map_or(&columns.schema, |place| &place.output);
    let sink_columns = sink_names.iter().map(|name| before_sink.index_of(name).expect("kept for the sink")).collect();
    let specs: Vec<udf::Spec> = bound.iter().map(|bound| bound.spec.clone()).collect();
    let fingerprint = fingerprint(ids.as_ref().map(|ids| &ids.schema), &specs, &sink_schema);
    let accepted = match &root {
        Some(root) => accept_changes(root, &fingerprint, options.accept_change)?,
        None => Vec::new(),
    };
    let group = group_limits(config);
    let stages = bound.into_iter().zip(places).map(|(bound, places)| bound.stage(places)).collect();
    Ok(Plan {
        file: config.file.path().into(),
        engine,
        source: Source { store: source, pattern, columns, schema, objects },
        ids,
        stages,
        sink: sink_spec(config, sink, sink_schema),
        sink_columns,
        checkpoint,
        is_durable: config.checkpoint.is_some(),
        root,
        fingerprint,
        accepts_change: options.accept_change,
        accepted,
        group,
        run: run_settings(&config.run, group),
        cache: options.cache.clone(),
    })
}

struct Draft<'a> {
    config: &'a Config,
    options: &'a Options,
    problems: Vec<Problem>,
}

struct Stores {
    source: Store,
    sink: Store,
    checkpoint: Store,
}

/// A stage whose function has agreed to its input.
struct Bound {
    spec: udf::Spec,
    binding: udf::Binding,
    line: u32,
    on_error: OnError,
}

impl Bound {
    fn link(&self) -> Link {
        let needs = self.binding.needs.fields().iter().map(|field| field.name().clone()).collect();
        Link { needs, adds: Arc::clone(&self.binding.adds) }
    }

    fn stage(self, places: chain::Places) -> Stage {
        let chain::Places { needs, carry, adds, output } = places;
        let Bound { spec, binding, line, on_error } = self;
        let label = format!("{} ({})", spec.stage, spec.function);
        Stage { label, line, spec: Arc::new(spec), binding, needs, carry, adds, output, on_error }
    }
}

impl Draft<'_> {
    fn problem<T>(&mut self, at: &At<T>, message: impl ToString) {
        let message = message.to_string();
        let problem = match message.split_once("\nhint: ") {
            Some((what, hint)) => self.config.file.problem_at(&at.span, what).hint(hint),
            None => self.config.file.problem_at(&at.span, message),
        };
        self.problems.push(problem);
    }

    /// Reports what was found so far, if anything.
    fn end(&mut self) -> Result<(), PlanError> {
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(PlanError::Problems(Problems(std::mem::take(&mut self.problems))))
    }

    /// A path of the pipeline file, relative to the file's folder.
    fn path(&self, written: &str) -> PathBuf {
        let path = written.strip_prefix("file://").unwrap_or(written);
        let folder = self.config.file.path().parent().unwrap_or(Path::new(""));
        std::path::absolute(folder.join(path)).unwrap_or_else(|_| folder.join(path))
    }

    fn pattern(&mut self) -> Option<Pattern> {
        let written = &self.config.source.path;
        match Pattern::new(&self.path(&written.value)) {
            Ok(pattern) => Some(pattern),
            Err(message) => {
                self.problem(written, format!("{message}\nhint: name a file, a folder or a glob that is there"));
                None
            }
        }
    }

    fn stores(&mut self, pattern: Option<&Pattern>) -> Result<Stores, PlanError> {
        let watch = &self.options.watch;
        let failed = |what: &str| {
            let what = format!("cannot use the {what}'s path");
            move |cause| PlanError::Store { what, cause }
        };
        let sink_path = self.path(&self.config.sink.path.value);
        let sink = Store::local("sink", &sink_path, watch).map_err(failed("sink"))?;
        let checkpoint = match &self.config.checkpoint {
            None => Store::memory("checkpoint"),
            Some(written) => {
                let path = self.path(&written.path.value);
                Store::local("checkpoint", &path, watch).map_err(failed("checkpoint"))?
            }
        };
        let root = pattern.map_or(Path::new("/"), Pattern::root);
        let source = Store::local("source", root, watch).map_err(failed("source"))?;
        self.refuse_files(&sink, &checkpoint);
        if let Some(pattern) = pattern {
            self.refuse_overlap(pattern, &source, &sink, &checkpoint);
        }
        Ok(Stores { source, sink, checkpoint })
    }

    fn refuse_files(&mut self, sink: &Store, checkpoint: &Store) {
        let config = self.config;
        let is_file = |store: &Store| store.local_root().is_some_and(Path::is_file);
        if is_file(sink) {
            self.problem(&config.sink.path, "the sink is a file\nhint: name a folder");
        }
        if let Some(written) = &config.checkpoint
            && is_file(checkpoint)
        {
            self.problem(&written.path, "the checkpoint is a file\nhint: name a folder");
        }
    }

    /// Output that is input of the next run would double rows without end.
    fn refuse_overlap(&mut self, pattern: &Pattern, source: &Store, sink: &Store, checkpoint: &Store) {
        let config = self.config;
        let hint = "hint: choose a folder of its own";
        if takes_from(pattern, source, sink) {
            self.problem(&config.sink.path, format!("the sink lies in the source\n{hint}"));
        } else if sink.contains(source) {
            self.problem(&config.sink.path, format!("the source lies in the sink\n{hint}"));
        }
        let Some(written) = &config.checkpoint else { return };
        if takes_from(pattern, source, checkpoint) {
            self.problem(&written.path, format!("the checkpoint lies in the source\n{hint}"));
        } else if checkpoint.contains(sink) || sink.contains(checkpoint) {
            self.problem(&written.path, format!("checkpoint and sink lie in each other\n{hint}"));
        }
    }

    fn components(&mut self, engine: &udf::Engine) -> Option<Vec<udf::Component>> {
        let mut loaded: Vec<udf::Component> = Vec::new();
        let mut complete = true;
        for stage in &self.config.stages {
            let path = self.path(&stage.component.value);
            if let Some(known) = loaded.iter().find(|component| component.path() == path) {
                loaded.push(known.clone());
                continue;
            }
            match udf::Component::load(engine, &path) {
                Ok(component) => loaded.push(component),
                Err(error) => {
                    self.problem(&stage.component, with_causes(&error));
                    complete = false;
                }
            }
        }
        complete.then_some(loaded)
    }

    /// The footers that a new job may look at. A job that has begun knows its schema, and finished objects stay closed.
    async fn footers(
        &mut self,
        store: &Store,
        objects: &[Object],
        root: Option<&Root>,
    ) -> Result<Vec<Opened>, PlanError> {
        if root.is_some() {
            return Ok(Vec::new());
        }
        if objects.is_empty() {
            let written = &self.config.source.path;
            self.problem(written, "the source has no object\nhint: name files that end in .parquet, or a glob");
            self.end()?;
        }
        let some = if objects.len() <= FOOTERS_MAX { objects } else { &objects[..1] };
        let opens: Vec<_> = some.iter().map(|object| open_for_plan(store, object)).collect();
        let results: Vec<Result<Opened, SourceError>> =
            futures::stream::iter(opens).buffered(FOOTERS_AT_ONCE).map(Ok::<_, PlanError>).try_collect().await?;
        let mut footers = Vec::with_capacity(results.len());
        for result in results {
            match result {
                Ok(opened) => footers.push(opened),
                Err(error @ SourceError::Bad { .. }) => self.problem(&self.config.source.path.clone(), error),
                Err(error) => return Err(error.into()),
            }
        }
        self.end()?;
        Ok(footers)
    }

    fn source_schema(&self, root: Option<&Root>, footers: &[Opened]) -> Result<SchemaRef, PlanError> {
        match root {
            Some(root) => commit::schema_from_hex(&root.genesis.source_schema).map_err(PlanError::from),
            None => Ok(source::schema_of(footers.first().expect("a new job has objects"))),
        }
    }

    fn id_fields(&mut self, schema: &Schema) -> Option<Vec<Field>> {
        let written = self.config.source.id.as_ref()?;
        let mut fields = Vec::new();
        for name in &written.value {
            match schema.field_with_name(&name.value) {
                Err(_) => {
                    let message = format!("the source has no column `{}`\nhint: {}", name.value, columns_hint(schema));
                    self.problem(name, message);
                }
                Ok(field) if !filter::is_supported(field.data_type()) => {
                    let (data_type, supported) = (field.data_type(), filter::supported());
                    let message = format!(
                        "column `{}` is {data_type}, which cannot be an id\nhint: ids are {supported}",
                        name.value
                    );
                    self.problem(name, message);
                }
                Ok(field) => fields.push(field.clone().with_nullable(false)),
            }
        }
        Some(fields)
    }

    /// Binds stage after stage, as far as schemas are known. Also gives the columns after the last.
    fn bind(
        &mut self,
        engine: &udf::Engine,
        components: &[udf::Component],
        source: &SchemaRef,
    ) -> (Vec<Bound>, SchemaRef) {
        let mut schema = Arc::clone(source);
        let mut bound: Vec<Bound> = Vec::new();
        for (index, (stage, component)) in self.config.stages.iter().zip(components).enumerate() {
            let spec = udf::Spec {
                component: component.clone(),
                function: stage.function.value.clone(),
                config: stage.config.as_ref().map_or_else(|| serde_json::json!({}), |config| config.value.clone()),
                input: Arc::clone(&schema),
                limits: limits_of(stage),
                stage: format!("stage {}", index + 1),
            };
            let binding = match udf::bind(engine, &spec) {
                Ok(binding) => binding,
                Err(error) => {
                    self.problem(&stage.function, with_causes(&error));
                    break;
                }
            };
            schema = chain::after(&schema, &binding.adds);
            let on_error = match stage.on_error.as_ref().map(|written| written.value) {
                Some(config::OnError::Skip) => OnError::Skip,
                Some(config::OnError::Fail) | None => OnError::Fail,
            };
            bound.push(Bound { spec, binding, line: stage.function.line, on_error });
        }
        (bound, schema)
    }

    fn sink_columns(&mut self, last: &Schema) -> Vec<String> {
        let Some(written) = &self.config.sink.columns else {
            return last.fields().iter().map(|field| field.name().clone()).collect();
        };
        if self.problems.is_empty() {
            for name in &written.value {
                if last.field_with_name(&name.value).is_err() {
                    let message =
                        format!("no column `{}` leaves the last stage\nhint: {}", name.value, columns_hint(last));
                    self.problem(name, message);
                }
            }
        }
        written.value.iter().map(|name| name.value.clone()).collect()
    }

    /// Schema drift and null ids that the footers give away.
    fn check_footers(&mut self, footers: &[Opened], columns: &Columns, ids: &[String]) {
        let written = &self.config.source.path;
        for opened in footers {
            if let Err(error) = opened.check(columns) {
                self.problem(written, error);
                continue;
            }
            for id in ids {
                if let Some(nulls @ 1..) = opened.nulls(id) {
                    let message = format!(
                        "source object {} has {nulls} null(s) in the id column `{id}`\n\
                         hint: give every row an id, or leave `id` out so that rows are known by position",
                        opened.object.path
                    );
                    self.problem(written, message);
                }
            }
        }
    }
}

async fn open_for_plan(store: &Store, object: &Object) -> Result<Opened, SourceError> {
    source::open(store, object, 0).await
}

fn takes_from(pattern: &Pattern, source: &Store, other: &Store) -> bool {
    let (Some(source), Some(other)) = (source.local_root(), other.local_root()) else { return false };
    other.strip_prefix(source).is_ok_and(|below| pattern.takes_below(below))
}

fn refuse_other_roots(root: &Root, source: &Store, sink: &Store, checkpoint: &Store) -> Result<(), PlanError> {
    let genesis = &root.genesis;
    let pairs = [
        ("source", &genesis.source, source),
        ("sink", &genesis.sink, sink),
        ("checkpoint", &genesis.checkpoint, checkpoint),
    ];
    let moved: Vec<String> = pairs
        .iter()
        .filter(|(_, was, is)| was.as_str() != is.url())
        .map(|(name, was, is)| format!("  {name}: {was} -> {}", is.url()))
        .collect();
    if moved.is_empty() {
        return Ok(());
    }
    Err(PlanError::Refused(format!(
        "the checkpoint belongs to a job with other places:\n{}\n\
         hint: run it where it began, or begin a new job with another checkpoint and an empty sink",
        moved.join("\n")
    )))
}

async fn refuse_other_jobs(draft: &Draft<'_>, sink: &Store, root: Option<&Root>) -> Result<(), PlanError> {
    let listing: Vec<ObjectMeta> = sink
        .objects()
        .list(None)
        .try_collect()
        .await
        .map_err(|cause| PlanError::Store { what: "cannot list the sink".into(), cause })?;
    let others = commit::other_jobs(&listing, root.map(|root| root.genesis.job.as_str()));
    let Some(first) = others.first() else { return Ok(()) };
    let message = format!("the sink {} holds output of another job ({first})", sink.url());
    let hint = match draft.config.checkpoint {
        Some(_) => "choose an empty folder, or name the checkpoint of that job to go on with it",
        None => "empty it or choose another: a pipeline without [checkpoint] is a new job each time it runs",
    };
    let problem = draft.config.file.problem_at(&draft.config.sink.path.span, message).hint(hint);
    Err(PlanError::Problems(Problems::from(problem)))
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
        return Err(PlanError::Refused(format!("{report}\nhint: {hint}")));
    }
    if accepts {
        return Ok(lines);
    }
    let hint = "rows that are done keep their results. Go on for the others with --accept-change, or begin a new job with another \
                checkpoint and an empty sink";
    Err(PlanError::Refused(format!("{report}\nhint: {hint}")))
}

fn columns_hint(schema: &Schema) -> String {
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    format!("there are {}", names.join(", "))
}

fn schema_of(last: &Schema, names: &[String]) -> SchemaRef {
    let field = |name: &String| last.field_with_name(name).expect("checked").clone();
    Arc::new(Schema::new(names.iter().map(field).collect::<Vec<_>>()))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    let (what, hint) =
        text.split_once("\nhint: ").map_or((text.clone(), None), |(a, b)| (a.into(), Some(b.to_string())));
    text = what;
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    match hint {
        Some(hint) => format!("{text}\nhint: {hint}"),
        None => text,
    }
}

fn limits_of(stage: &config::Stage) -> udf::Limits {
    let mut limits = udf::Limits::default();
    if let Some(bytes) = &stage.memory_bytes_max {
        limits.memory_bytes_max = bytes.value;
    }
    if let Some(time) = &stage.block_seconds_max {
        limits.block_time_max = time.value;
    }
    limits
}

fn sink_spec(config: &Config, store: Store, schema: SchemaRef) -> sink::Spec {
    let compression = match config.sink.compression.as_ref().map(|written| written.value) {
        Some(config::Compression::Zstd) | None => sink::Compression::Zstd,
        Some(config::Compression::Snappy) => sink::Compression::Snappy,
        Some(config::Compression::Lz4) => sink::Compression::Lz4,
        Some(config::Compression::None) => sink::Compression::None,
    };
    let file_bytes_max = value_or(config.sink.file_bytes_max.as_ref(), FILE_BYTES_MAX);
    sink::Spec { store, schema, compression, file_bytes_max }
}

fn group_limits(config: &Config) -> GroupLimits {
    let written = config.checkpoint.as_ref();
    GroupLimits {
        rows_max: value_or(written.and_then(|written| written.group_rows_max.as_ref()), GROUP_ROWS_MAX),
        bytes_max: value_or(written.and_then(|written| written.group_bytes_max.as_ref()), GROUP_BYTES_MAX),
        time_max: value_or(written.and_then(|written| written.group_seconds_max.as_ref()), GROUP_TIME_MAX),
    }
}

/// Blocks are no larger than a group may be.
fn run_settings(run: &config::Run, group: GroupLimits) -> Run {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u32;
    Run {
        workers: value_or(run.workers.as_ref(), cores) as usize,
        readers: value_or(run.readers.as_ref(), cores) as usize,
        drain: value_or(run.drain_seconds.as_ref(), DRAIN),
        block: BlockSize {
            rows_max: u64::from(value_or(run.block_rows_max.as_ref(), BLOCK_ROWS_MAX)).min(group.rows_max) as usize,
            bytes_max: value_or(run.block_bytes_max.as_ref(), BLOCK_BYTES_MAX).min(group.bytes_max) as usize,
            window_bytes: WINDOW_BYTES,
        },
        memory_bytes_max: value_or(run.memory_bytes_max.as_ref(), MEMORY_BYTES_MAX),
    }
}

fn value_or<T: Copy>(written: Option<&At<T>>, default: T) -> T {
    written.map_or(default, |written| written.value)
}
