//! The steps from a pipeline file to a plan. Mistakes are collected as they are found, those of the file as it is written
//! first, and reported together. A step that needs what an earlier mistake hides is left out, so that no mistake is said
//! twice; all others are taken.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;

use super::chain::{self, Link};
use super::fingerprint::{differences, fingerprint};
use super::{Ids, NewJob, OnError, Options, Plan, PlanError, Run, Source, Stage, columns, nearby, schema};
use crate::commit::{self, CommitError, GroupLimits, Root};
use crate::config::{self, At, Config, Place, Problem, Problems, list, nearest, shown};
use crate::filter;
use crate::message::Message;
use crate::sink;
use crate::source::{self, BlockSize, Columns, Object, Opened, Pattern, SourceError};
use crate::store::{Location, Settings, Store};
use crate::udf;

/// Footers read while planning a new job: a source with more objects is checked file by file as it is read.
const FOOTERS_MAX: usize = 1000;
const FOOTERS_AT_ONCE: usize = 16;

/// Functions of a component that a message lists.
const FUNCTIONS_MAX: usize = 12;

const LANES: u32 = 1;
const SPLIT_BYTES: u64 = 4 << 30;
const COMPACT_ENTRIES: u64 = 500;
const HEARTBEAT: Duration = Duration::from_secs(5);
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
    let mut draft = Draft { config, options, problems: config.problems.clone() };
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
}

/// What could be opened.
struct Stores {
    source: Option<(Pattern, Store)>,
    sink: Option<Store>,
    checkpoint: Option<Store>,
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

/// What binding came to.
struct Bindings {
    /// The stages that are bound.
    bound: Vec<Bound>,
    /// The columns after the last stage, if all are known.
    last: Option<SchemaRef>,
    /// The names of columns that bound stages need.
    wanted: Vec<String>,
}

/// A function where the pipeline file uses it.
struct Used<'a> {
    index: usize,
    stage: &'a config::Stage,
    written: &'a At<String>,
    function: &'a udf::Function,
}

/// Columns on their way, and who made them.
struct Known {
    schema: SchemaRef,
    makers: HashMap<String, String>,
}

impl Known {
    fn of_source(schema: &SchemaRef) -> Known {
        let makers = schema.fields().iter().map(|field| (field.name().clone(), "the source".to_owned()));
        Known { schema: Arc::clone(schema), makers: makers.collect() }
    }

    fn after(mut self, used: &Used<'_>, adds: &Schema) -> Known {
        let maker = format!("stage {} ({})", used.index + 1, used.function.name);
        self.makers.extend(adds.fields().iter().map(|field| (field.name().clone(), maker.clone())));
        Known { schema: chain::after(&self.schema, adds), makers: self.makers }
    }
}

impl Draft<'_> {
    /// All steps, as far as each can be taken. No plan if one could not; then there is a problem.
    async fn make(&mut self) -> Result<Option<Plan>, PlanError> {
        let config = self.config;
        let stores = self.stores();
        let components = self.components();
        let problems_before = self.problems.len();
        let root = self.root(&stores).await?;
        if self.problems.len() == problems_before {
            self.refuse_other_jobs(&stores, root.as_ref()).await?;
        }
        let objects = self.objects(&stores).await?;
        let footers = self.footers(&stores, objects.as_deref(), root.as_ref()).await?;
        let schema = source_schema(root.as_ref(), footers.as_deref())?;
        let id_fields = self.id_fields(schema.as_deref());
        let Bindings { bound, last, wanted } = self.bind(&components, schema.as_ref());
        let sink_names = self.sink_columns(last.as_deref());
        let id_names: Vec<String> = id_fields.iter().flatten().map(|field| field.name().clone()).collect();
        if let Some(schema) = &schema {
            self.check_footers(footers.as_deref().unwrap_or_default(), schema, &id_names, &wanted);
        }
        let Stores { source: Some((pattern, source)), sink: Some(sink), checkpoint: Some(checkpoint) } = stores else {
            return Ok(None);
        };
        let (Some(schema), Some(last), Some(objects)) = (schema, last, objects) else { return Ok(None) };
        if !self.problems.is_empty() {
            return Ok(None);
        }

        let links: Vec<Link> = bound.iter().map(Bound::link).collect();
        let (needed, places) = chain::link(&schema, &id_names, &links, &sink_names);
        let columns =
            Columns { schema: if self.keeps_full_rows() { Arc::clone(&schema) } else { Arc::clone(&needed) } };
        let place = |field: &Arc<Field>| columns.schema.index_of(field.name()).expect("what is needed is read");
        let to_stages = needed.fields().iter().map(place).collect();
        let sink_schema = schema_of(&last, &sink_names);
        let ids = id_fields.map(|fields| Ids {
            places: fields.iter().map(|field| columns.schema.index_of(field.name()).expect("ids are read")).collect(),
            schema: Arc::new(Schema::new(fields)),
        });
        let before_sink = places.last().map_or(&needed, |place| &place.output);
        let sink_columns =
            sink_names.iter().map(|name| before_sink.index_of(name).expect("kept for the sink")).collect();
        let specs: Vec<udf::Spec> = bound.iter().map(|bound| bound.spec.clone()).collect();
        let fingerprint = fingerprint(ids.as_ref().map(|ids| &ids.schema), &specs, &sink_schema);
        let accepted = match &root {
            Some(root) => accept_changes(root, &fingerprint, self.options.accept_change)?,
            None => Vec::new(),
        };
        let group = group_limits(config);
        let sink = sink_spec(config, sink, sink_schema);
        let dead_letters = self.has_dead_letters().then(|| sink::Spec {
            schema: commit::letter_schema(&schema, &columns.schema),
            kind: sink::FileKind::DeadLetters,
            ..sink.clone()
        });
        let stages = bound.into_iter().zip(places).map(|(bound, places)| bound.stage(places)).collect();
        let rows = footers.filter(|footers| footers.len() == objects.len());
        let rows = rows.map(|footers| footers.iter().map(|opened| opened.rows).sum());
        Ok(Some(Plan {
            file: config.file.path().into(),
            engine: Arc::clone(&self.options.engine),
            source: Source { store: source, pattern, columns, to_stages, schema, objects, rows },
            ids,
            stages,
            sink,
            dead_letters,
            sink_columns,
            checkpoint,
            is_durable: config.checkpoint.is_some(),
            root,
            fingerprint,
            accepts_change: self.options.accept_change,
            accepted,
            lanes: self.options.lanes.clone(),
            take_over: self.options.take_over,
            relocate: self.options.relocate,
            retry_failed: self.options.retry_failed,
            genesis: new_job(config),
            compact_entries: checkpoint_key(config, |written| written.compact_entries.as_ref(), COMPACT_ENTRIES),
            heartbeat: checkpoint_key(config, |written| written.heartbeat_seconds.as_ref(), HEARTBEAT),
            delete_on_success: checkpoint_key(config, |written| written.delete_on_success.as_ref(), false),
            group,
            run: run_settings(&config.run, group),
            cache: self.options.cache.clone(),
        }))
    }

    fn has_dead_letters(&self) -> bool {
        self.config.stages.iter().any(|stage| on_error(stage) == OnError::DeadLetter)
    }

    fn keeps_full_rows(&self) -> bool {
        self.has_dead_letters() && self.config.dead_letters.full_row.as_ref().is_some_and(|written| written.value)
    }

    fn problem<T>(&mut self, at: &At<T>, message: impl Into<Message>) {
        self.problem_at(&at.span, message);
    }

    fn problem_at(&mut self, span: &Range<usize>, message: impl Into<Message>) {
        self.problems.push(self.config.file.problem_at(span, message));
    }

    /// A path of the pipeline file, relative to the file's folder.
    fn path(&self, written: &str) -> PathBuf {
        let path = written.strip_prefix("file://").unwrap_or(written);
        self.folder_of_file().join(path)
    }

    fn folder_of_file(&self) -> PathBuf {
        let folder = self.config.file.path().parent().unwrap_or(Path::new(""));
        std::path::absolute(folder.join(".")).unwrap_or_else(|_| folder.to_owned())
    }

    /// A place of the pipeline file.
    fn location(&mut self, written: &At<String>) -> Option<Location> {
        match Location::parse(&written.value, &self.folder_of_file()) {
            Ok(location) => Some(location),
            Err(message) => {
                self.problem(written, message);
                None
            }
        }
    }

    fn stores(&mut self) -> Stores {
        let config = self.config;
        let source = self.pattern().and_then(|pattern| {
            let settings = config.source.store.as_ref();
            let store = self.store("source", config.source.path.as_ref(), settings, pattern.root());
            store.map(|store| (pattern, store))
        });
        let sink = self.folder("sink", config.sink.path.as_ref(), config.sink.store.as_ref());
        let checkpoint = match &config.checkpoint {
            None => Some(Store::memory("checkpoint")),
            Some(written) => self.folder("checkpoint", written.path.as_ref(), written.store.as_ref()),
        };
        let mut stores = Stores { source, sink, checkpoint };
        if let Some((pattern, source)) = stores.source.take() {
            let is_apart = self.refuse_overlap(&pattern, &source, &stores);
            let own = [&stores.sink, &stores.checkpoint].into_iter().flatten().filter_map(Store::local_root);
            let pattern = if is_apart { pattern.avoiding(own.map(Into::into)) } else { pattern };
            stores.source = Some((pattern, source));
        }
        stores
    }

    fn pattern(&mut self) -> Option<Pattern> {
        let written = self.config.source.path.as_ref()?;
        let place = self.location(written)?;
        match Pattern::new(&place) {
            Ok(pattern) => Some(pattern),
            Err(_) if place.local().is_some_and(is_missing) => {
                let path = place.local().unwrap_or(Path::new(""));
                self.problem(written, nearby::missing(&written.value, path, &self.folder_of_file()));
                None
            }
            Err(message) => {
                let hint = match has_glob(&written.value) {
                    true => {
                        "correct the glob: *, **, ?, [a-z] and {a,b} are special; [[] stands for a bracket in a name"
                    }
                    false => "name a file, a folder or a glob that is there",
                };
                self.problem(written, Message::new(message).hint(hint));
                None
            }
        }
    }

    fn store(
        &mut self,
        name: &'static str,
        written: Option<&At<String>>,
        settings: Option<&At<config::Store>>,
        location: &Location,
    ) -> Option<Store> {
        if let (Some(settings), Some(_)) = (settings, location.local()) {
            let message = format!("`store` says how to reach a bucket, but the {name} is on this machine");
            self.problem(settings, Message::new(message).hint("remove it, or name an s3:// path"));
            return None;
        }
        let Options { environment, watch, .. } = self.options;
        let reach = settings.map_or_else(Settings::default, |settings| settings_of(&settings.value));
        match Store::open(name, location, &reach, environment, watch) {
            Ok(store) => Some(store),
            Err(error) => {
                let span = settings.map(|settings| &settings.span).or(written.map(|written| &written.span));
                self.problem_at(span?, format!("cannot use the {name}'s path: {error}"));
                None
            }
        }
    }

    fn folder(
        &mut self,
        name: &'static str,
        written: Option<&At<String>>,
        settings: Option<&At<config::Store>>,
    ) -> Option<Store> {
        let location = self.location(written?)?;
        let store = self.store(name, written, settings, &location)?;
        if store.local_root().is_some_and(Path::is_file) {
            self.problem(written?, format!("the {name} is a file\nhint: name a folder"));
            return None;
        }
        Some(store)
    }

    /// Output that is input of the next run would double rows without end. Answers whether all is well.
    fn refuse_overlap(&mut self, pattern: &Pattern, source: &Store, stores: &Stores) -> bool {
        let problems_before = self.problems.len();
        let config = self.config;
        let hint = "choose a folder of its own";
        if let (Some(sink), Some(written)) = (&stores.sink, &config.sink.path) {
            if takes_from(pattern, source, sink) {
                self.problem(written, Message::new("the sink lies in the source").hint(hint));
            } else if sink.contains(source) {
                self.problem(written, Message::new("the source lies in the sink").hint(hint));
            }
        }
        let written = config.checkpoint.as_ref().and_then(|checkpoint| checkpoint.path.as_ref());
        if let (Some(checkpoint), Some(written)) = (&stores.checkpoint, written) {
            let touches = |sink: &Store| checkpoint.contains(sink) || sink.contains(checkpoint);
            if takes_from(pattern, source, checkpoint) {
                self.problem(written, Message::new("the checkpoint lies in the source").hint(hint));
            } else if stores.sink.as_ref().is_some_and(touches) {
                self.problem(written, Message::new("checkpoint and sink lie in each other").hint(hint));
            }
        }
        self.problems.len() == problems_before
    }

    /// The component of every stage, if it can be used.
    fn components(&mut self) -> Vec<Option<udf::Component>> {
        let config = self.config;
        let mut loaded: Vec<Option<udf::Component>> = Vec::new();
        for stage in &config.stages {
            let component = stage.component.as_ref().and_then(|written| self.component(written, &loaded));
            loaded.push(component);
        }
        loaded
    }

    fn component(&mut self, written: &At<String>, loaded: &[Option<udf::Component>]) -> Option<udf::Component> {
        let path = self.path(&written.value);
        if let Some(known) = loaded.iter().flatten().find(|component| component.path() == path) {
            return Some(known.clone());
        }
        match udf::Component::load(&self.options.engine, &path) {
            Ok(component) => Some(component),
            Err(_) if is_missing(&path) => {
                self.problem(written, nearby::missing(&written.value, &path, &self.folder_of_file()));
                None
            }
            Err(_) if path.is_dir() => {
                let hint = match path.join("Cargo.toml").is_file() {
                    true => format!(
                        "`wasmpipe udf build {}` makes a component of this crate; name that",
                        shown(&written.value)
                    ),
                    false => "name the component's .wasm file".to_owned(),
                };
                self.problem(written, Message::new(format!("`{}` is a folder", shown(&written.value))).hint(hint));
                None
            }
            Err(error) => {
                self.problem(written, Message::of(&error));
                None
            }
        }
    }

    /// The job that the checkpoint belongs to. None if it belongs to one with other places, which is a problem.
    async fn root(&mut self, stores: &Stores) -> Result<Option<Root>, PlanError> {
        let Some(checkpoint) = &stores.checkpoint else { return Ok(None) };
        let root = match Root::read(checkpoint).await {
            Err(CommitError::Deleted) => {
                commit::delete_all(checkpoint).await?;
                None
            }
            read => read?,
        };
        let Some(root) = root else { return Ok(None) };
        let moved = moved(&root, stores);
        if moved.is_empty() || self.options.relocate {
            return Ok(Some(root));
        }
        let mut message = Message::new("the checkpoint belongs to a job with other places").hint(
            "if the job was moved, go on with --relocate; else run it where it began, or begin a new job with another \
             checkpoint and an empty sink",
        );
        message.details = moved;
        let config = self.config;
        if let Some(written) = config.checkpoint.as_ref().and_then(|checkpoint| checkpoint.path.as_ref()) {
            self.problem(written, message);
        }
        Ok(None)
    }

    async fn refuse_other_jobs(&mut self, stores: &Stores, root: Option<&Root>) -> Result<(), PlanError> {
        let (Some(sink), Some(written)) = (&stores.sink, &self.config.sink.path) else { return Ok(()) };
        if value_or(self.config.sink.shared.as_ref(), false) {
            self.refuse_forgetting();
            return Ok(());
        }
        let listing: Vec<ObjectMeta> = sink
            .objects()
            .list(None)
            .try_collect()
            .await
            .map_err(|cause| PlanError::Store { what: "cannot list the sink".into(), cause })?;
        let others = commit::other_jobs(&listing, root.map(|root| root.genesis.job.as_str()));
        let Some(first) = others.first() else { return Ok(()) };
        let message = format!("the sink {} holds output of another job ({first})", sink.url());
        let hint = match self.config.checkpoint {
            Some(_) => {
                "choose an empty folder; or name the checkpoint of that job to go on with it; or let jobs share the folder with \
                 `shared = true` under [sink]"
            }
            None => "empty it or choose another: a pipeline without [checkpoint] is a new job each time it runs",
        };
        self.problem(written, Message::new(message).hint(hint));
        Ok(())
    }

    /// In a shared folder nothing would keep a rerun of a finished job, whose checkpoint is gone, from doubling its output.
    fn refuse_forgetting(&mut self) {
        let written = self.config.checkpoint.as_ref().and_then(|checkpoint| checkpoint.delete_on_success.as_ref());
        if let Some(written) = written.filter(|written| written.value) {
            let message =
                "`delete_on_success` and a shared sink do not go together: run again, the job would double its output";
            self.problem(written, Message::new(message).hint("keep the checkpoint, or give the job a sink of its own"));
        }
    }

    async fn objects(&mut self, stores: &Stores) -> Result<Option<Vec<Object>>, PlanError> {
        let (Some((pattern, source)), Some(written)) = (&stores.source, &self.config.source.path) else {
            return Ok(None);
        };
        match source::list(source, pattern).await {
            Ok(objects) => Ok(Some(objects)),
            Err(error @ SourceError::Bad { .. }) => {
                self.problem(written, Message::of(&error));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The footers that a new job may look at. A job that has begun knows its schema, and finished objects stay closed.
    async fn footers(
        &mut self,
        stores: &Stores,
        objects: Option<&[Object]>,
        root: Option<&Root>,
    ) -> Result<Option<Vec<Opened>>, PlanError> {
        let (Some((pattern, store)), Some(written)) = (&stores.source, &self.config.source.path) else {
            return Ok(None);
        };
        let (Some(objects), None) = (objects, root) else { return Ok(None) };
        if objects.is_empty() {
            let message = format!("`{}` takes no file: the source has no object", shown(&written.value));
            self.problem(written, Message::new(message).hint(nearby::hint_for_none(pattern.root())));
            return Ok(None);
        }
        let some = if objects.len() <= FOOTERS_MAX { objects } else { &objects[..1] };
        let opens: Vec<_> = some.iter().map(|object| open_for_plan(store, object)).collect();
        let results: Vec<Result<Opened, SourceError>> =
            futures::stream::iter(opens).buffered(FOOTERS_AT_ONCE).collect().await;
        let mut footers = Vec::with_capacity(results.len());
        for result in results {
            match result {
                Ok(opened) => footers.push(opened),
                Err(error @ SourceError::Bad { .. }) => self.problem(written, Message::of(&error)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(footers).filter(|footers| !footers.is_empty()))
    }

    fn id_fields(&mut self, schema: Option<&Schema>) -> Option<Vec<Field>> {
        let config = self.config;
        let (written, schema) = (config.source.id.as_ref()?, schema?);
        let mut fields = Vec::new();
        for name in &written.value {
            match schema.field_with_name(&name.value) {
                Err(_) => {
                    let message = Message::new(format!("the source has no column `{}`", shown(&name.value)));
                    self.problem(name, message.hint(columns_hint(&name.value, schema)));
                }
                Ok(field) if !filter::is_supported(field.data_type()) => {
                    let message = format!("column `{}` is {}, which cannot be an id", name.value, field.data_type());
                    self.problem(name, Message::new(message).hint(format!("ids are {}", filter::supported())));
                }
                Ok(field) => fields.push(field.clone().with_nullable(false)),
            }
        }
        Some(fields)
    }

    /// Binds stage after stage, as far as the columns are known.
    fn bind(&mut self, components: &[Option<udf::Component>], source: Option<&SchemaRef>) -> Bindings {
        let config = self.config;
        let mut columns = source.map(Known::of_source);
        let mut bindings = Bindings { bound: Vec::new(), last: None, wanted: Vec::new() };
        for (index, (stage, component)) in config.stages.iter().zip(components).enumerate() {
            let before = columns.take();
            let (Some(component), Some(written)) = (component, &stage.function) else { continue };
            let Some(function) = self.function(index, written, component) else { continue };
            let is_good = self.check_config(stage, written, function);
            let Some(before) = before else { continue };
            let used = Used { index, stage, written, function };
            columns = if is_good {
                self.bind_one(&used, component, before, &mut bindings)
            } else {
                self.foresee(&used, before)
            };
        }
        bindings.last = columns.map(|known| known.schema);
        bindings
    }

    fn function<'c>(
        &mut self,
        index: usize,
        written: &At<String>,
        component: &'c udf::Component,
    ) -> Option<&'c udf::Function> {
        let functions = component.functions();
        let found = functions.iter().find(|function| function.name == written.value);
        if found.is_none() {
            let names: Vec<&str> = functions.iter().map(|function| function.name.as_str()).collect();
            let offers = match names.as_slice() {
                [] => "the component offers none".to_owned(),
                names if names.len() <= FUNCTIONS_MAX => format!("the component offers {}", list(names, "and")),
                names => format!("the component offers {} and others", names[..FUNCTIONS_MAX].join(", ")),
            };
            let meant = nearest(&written.value, names.iter().copied());
            let hint = meant.map_or(offers.clone(), |meant| format!("did you mean \"{meant}\"? {offers}"));
            let file = component.path().file_name().unwrap_or_default().to_string_lossy();
            let message = format!("stage {}: {file} has no function `{}`", index + 1, shown(&written.value));
            self.problem(written, Message::new(message).hint(hint));
        }
        found
    }

    /// What the function's own schema says about its config. Answers whether it may be bound with it.
    fn check_config(&mut self, stage: &config::Stage, written: &At<String>, function: &udf::Function) -> bool {
        let nothing = serde_json::json!({});
        let settings = stage.config.as_ref();
        if settings.is_some_and(|settings| !settings.value.is_whole) {
            return false;
        }
        let Some(schema) = &function.config else { return true };
        let value = settings.map_or(&nothing, |settings| &settings.value.value);
        let mistakes = schema::mistakes(schema, value);
        for mistake in &mistakes {
            let place = settings.and_then(|settings| settings.value.place(&mistake.pointer));
            let span = match place {
                Some(Place { key: Some(key), .. }) if mistake.is_key => key,
                Some(place) => &place.value,
                None => settings.map_or(&written.span, |settings| &settings.span),
            };
            let message = Message::new(format!("`{}`: {}", function.name, mistake.what));
            let file = stage.component.as_ref().map_or("FILE", |component| &component.value);
            let all = || format!("`wasmpipe udf inspect {}` shows what the function takes", shown(file));
            let hint = match (&mistake.hint, &mistake.doc) {
                (Some(hint), _) => hint.clone(),
                (None, Some(doc)) => format!("the author says about it: {doc}"),
                (None, None) => all(),
            };
            self.problem_at(span, message.hint(hint));
        }
        mistakes.is_empty()
    }

    /// The columns after the stage, if they are known.
    fn bind_one(
        &mut self,
        used: &Used<'_>,
        component: &udf::Component,
        before: Known,
        bindings: &mut Bindings,
    ) -> Option<Known> {
        let Used { index, stage, written, .. } = *used;
        let spec = udf::Spec {
            component: component.clone(),
            function: written.value.clone(),
            config: stage.config.as_ref().map_or_else(|| serde_json::json!({}), |config| config.value.value.clone()),
            input: Arc::clone(&before.schema),
            limits: limits_of(stage),
            stage: format!("stage {}", index + 1),
        };
        match udf::bind(&self.options.engine, &spec) {
            Ok(binding) => {
                let after = before.after(used, &binding.adds);
                bindings.wanted.extend(binding.needs.fields().iter().map(|field| field.name().clone()));
                bindings.bound.push(Bound { spec, binding, line: written.line, on_error: on_error(stage) });
                Some(after)
            }
            Err(udf::UdfError::Columns { mismatch, .. }) => {
                self.mismatch(used, &before, &mismatch);
                Some(before.after(used, &mismatch.adds))
            }
            // A function that refuses because of its columns may not say it as well as the host can.
            Err(error) => {
                let problems_before = self.problems.len();
                let after = self.foresee(used, before);
                if self.problems.len() == problems_before {
                    let config = stage.config.as_ref().map(|settings| &settings.span);
                    let span = config.filter(|_| matches!(error, udf::UdfError::Unbound { .. }));
                    self.problem_at(span.unwrap_or(&written.span), Message::of(&error));
                }
                after
            }
        }
    }

    /// A function that cannot be bound yet: checks its columns as the component describes them.
    fn foresee(&mut self, used: &Used<'_>, before: Known) -> Option<Known> {
        let (needs, adds) = foreseen(used.function)?;
        if let Some(mismatch) = udf::Mismatch::find(&needs, &adds, &before.schema) {
            self.mismatch(used, &before, &mismatch);
        }
        Some(before.after(used, &adds))
    }

    fn mismatch(&mut self, used: &Used<'_>, before: &Known, mismatch: &udf::Mismatch) {
        self.problem(used.written, columns::explained(used.index, used.function, mismatch, &before.makers));
    }

    fn sink_columns(&mut self, last: Option<&Schema>) -> Vec<String> {
        let config = self.config;
        let Some(last) = last else { return Vec::new() };
        let Some(written) = &config.sink.columns else {
            return last.fields().iter().map(|field| field.name().clone()).collect();
        };
        for name in &written.value {
            if last.field_with_name(&name.value).is_err() {
                let message = Message::new(format!("no column `{}` leaves the last stage", shown(&name.value)));
                self.problem(name, message.hint(columns_hint(&name.value, last)));
            }
        }
        written.value.iter().map(|name| name.value.clone()).collect()
    }

    /// Schema drift and null ids that the footers give away. `wanted` are the columns that stages need.
    fn check_footers(&mut self, footers: &[Opened], schema: &Schema, ids: &[String], wanted: &[String]) {
        let config = self.config;
        let Some(written) = &config.source.path else { return };
        let sink = config.sink.columns.iter().flat_map(|columns| &columns.value).map(|name| &name.value);
        let named: HashSet<&String> = ids.iter().chain(wanted).chain(sink).collect();
        let reads_all = config.sink.columns.is_none() || self.keeps_full_rows();
        let is_read = |name: &String| reads_all || named.contains(name);
        let fields = schema.fields().iter().filter(|field| is_read(field.name())).cloned();
        let columns = Columns { schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())) };
        for opened in footers {
            if let Err(error) = opened.check(&columns) {
                self.problem(written, Message::of(&error));
                continue;
            }
            for id in ids {
                if let Some(nulls @ 1..) = opened.nulls(id) {
                    let message = format!(
                        "source object {} has {nulls} {} in the id column `{id}`\n\
                         hint: give every row an id, or leave `id` out so that rows are known by position",
                        opened.object.path,
                        if nulls == 1 { "null" } else { "nulls" }
                    );
                    match config.source.id.as_ref().and_then(|ids| ids.value.iter().find(|name| name.value == *id)) {
                        Some(name) => self.problem(name, message),
                        None => self.problem(written, message),
                    }
                }
            }
        }
    }
}

async fn open_for_plan(store: &Store, object: &Object) -> Result<Opened, SourceError> {
    source::open(store, object, 0).await
}

fn takes_from(pattern: &Pattern, source: &Store, other: &Store) -> bool {
    source.below(other).is_some_and(|below| pattern.takes_below(&below))
}

/// How to reach a store, as its section of the pipeline file says.
pub fn settings_of(written: &config::Store) -> Settings {
    let text = |written: &Option<At<String>>| written.as_ref().map(|written| written.value.clone());
    Settings {
        endpoint: text(&written.endpoint),
        region: text(&written.region),
        profile: text(&written.profile),
        allow_http: written.allow_http.as_ref().map(|written| written.value),
        retries: written.retries.as_ref().map(|written| written.value),
        timeout: written.timeout_seconds.as_ref().map(|written| written.value),
        requests_max: written.requests_max.as_ref().map(|written| written.value),
    }
}

/// Places that are not those of the job, a line each.
fn moved(root: &Root, stores: &Stores) -> Vec<String> {
    let places = &root.places;
    let source = stores.source.as_ref().map(|(_, store)| store);
    let pairs = [
        ("source", &places.source, source),
        ("sink", &places.sink, stores.sink.as_ref()),
        ("checkpoint", &places.checkpoint, stores.checkpoint.as_ref()),
    ];
    let line = |(name, was, is): (&str, &String, Option<&Store>)| {
        let is = is?.url();
        (was != is).then(|| format!("{name}: {was} -> {is}"))
    };
    pairs.into_iter().filter_map(line).collect()
}

fn source_schema(root: Option<&Root>, footers: Option<&[Opened]>) -> Result<Option<SchemaRef>, PlanError> {
    match root {
        Some(root) => Ok(Some(commit::schema_from_hex(&root.genesis.source_schema)?)),
        None => Ok(footers.and_then(<[_]>::first).map(source::schema_of)),
    }
}

fn has_glob(path: &str) -> bool {
    path.contains(['*', '?', '[', '{'])
}

fn is_missing(path: &Path) -> bool {
    !path.to_str().is_some_and(has_glob)
        && std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// The columns of a function as its component describes them; none if that depends on more, or is not understood.
pub(super) fn foreseen(function: &udf::Function) -> Option<(Schema, SchemaRef)> {
    let schema = |columns: &[udf::Column]| {
        let field = |column: &udf::Column| {
            let data_type: DataType = column.data_type.parse().ok()?;
            Some(Field::new(&column.name, data_type, column.nullable))
        };
        columns.iter().map(field).collect::<Option<Vec<Field>>>().map(Schema::new)
    };
    let (needs, adds) = (function.needs.as_deref()?, function.adds.as_deref()?);
    Some((schema(needs)?, Arc::new(schema(adds)?)))
}

fn on_error(stage: &config::Stage) -> OnError {
    match stage.on_error.as_ref().map(|written| written.value) {
        Some(config::OnError::Skip) => OnError::Skip,
        Some(config::OnError::DeadLetter) => OnError::DeadLetter,
        Some(config::OnError::Fail) | None => OnError::Fail,
    }
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

fn columns_hint(written: &str, schema: &Schema) -> String {
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let there = columns::names(&names);
    match nearest(written, names.iter().copied()) {
        Some(meant) => format!("did you mean `{}`? {there}", shown(meant)),
        None => there,
    }
}

fn schema_of(last: &Schema, names: &[String]) -> SchemaRef {
    let field = |name: &String| last.field_with_name(name).expect("checked").clone();
    Arc::new(Schema::new(names.iter().map(field).collect::<Vec<_>>()))
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
    sink::Spec { store, schema, compression, file_bytes_max, kind: sink::FileKind::Output }
}

fn group_limits(config: &Config) -> GroupLimits {
    GroupLimits {
        rows_max: checkpoint_key(config, |written| written.group_rows_max.as_ref(), GROUP_ROWS_MAX),
        bytes_max: checkpoint_key(config, |written| written.group_bytes_max.as_ref(), GROUP_BYTES_MAX),
        time_max: checkpoint_key(config, |written| written.group_seconds_max.as_ref(), GROUP_TIME_MAX),
    }
}

fn new_job(config: &Config) -> NewJob {
    NewJob {
        lanes: checkpoint_key(config, |written| written.lanes.as_ref(), LANES),
        split_bytes: checkpoint_key(config, |written| written.split_bytes.as_ref(), SPLIT_BYTES),
    }
}

fn checkpoint_key<T: Copy>(config: &Config, key: impl Fn(&config::Checkpoint) -> Option<&At<T>>, default: T) -> T {
    value_or(config.checkpoint.as_ref().and_then(key), default)
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
