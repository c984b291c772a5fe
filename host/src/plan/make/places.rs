//! Where rows come from and go to: the stores, the checkpoint's job, the source's objects.

use std::path::{Path, PathBuf};

use super::super::{Options, PlanError, nearby};
use super::Draft;
use super::settings::{layout, settings_of};
use crate::commit::{self, CommitError, Fingerprint, GivenUp, Manifest, Root};
use crate::config::{self, At};
use crate::message::Message;
use crate::sink::OWN_FOLDER;
use crate::source::{self, FileKind, Object, Pattern, SourceError, Survey, is_glob};
use crate::store::{Location, Settings, Store};

/// What could be opened.
pub(super) struct Stores {
    pub(super) source: Option<(Pattern, Store)>,
    pub(super) sink: Option<Store>,
    pub(super) checkpoint: Option<Store>,
}

/// Jobs in the sink beside which this one must not begin.
pub(super) struct OtherJobs {
    /// Why.
    pub(super) refusal: Message,
    /// What it left, if the one job that is there had this checkpoint and is finished: it may be this one.
    pub(super) finished: Option<Manifest>,
}

impl OtherJobs {
    /// The manifest, if that job has done what this one would do; else why this one is refused.
    fn same(self, source: &Store, objects: &[Object], fingerprint: &Fingerprint) -> Result<Manifest, Message> {
        let listing = commit::listing_digest(source.url(), objects);
        let is_same = |manifest: &Manifest| {
            manifest.listing.as_ref() == Some(&listing) && manifest.fingerprint.as_ref() == Some(fingerprint)
        };
        self.finished.filter(is_same).ok_or(self.refusal)
    }
}

impl Draft<'_> {
    /// A path of the pipeline file, relative to the file's folder.
    pub(super) fn path(&self, written: &str) -> PathBuf {
        let path = written.strip_prefix("file://").unwrap_or(written);
        self.folder_of_file().join(path)
    }

    pub(super) fn folder_of_file(&self) -> PathBuf {
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

    pub(super) fn stores(&mut self) -> Stores {
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
        let message = match Pattern::new(&place, &self.folder_of_file()) {
            Ok(pattern) => return Some(pattern),
            Err(message) => message,
        };
        if let Some(path) = place.local().filter(|path| !is_glob(&written.value) && is_missing(path)) {
            self.problem(written, nearby::missing(&written.value, path, &self.folder_of_file()));
            return None;
        }
        let hint = match is_glob(&written.value) {
            true => "correct the glob: *, **, ?, [a-z] and {a,b} are special; [[] stands for a bracket in a name",
            false => "name a file, a folder or a glob that is there",
        };
        self.problem(written, message.or_hint(hint));
        None
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
                let message = Message::brief(&error).after(format!("cannot use the {name}'s path: "));
                self.problem_at(span?, message);
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
            self.problem(written?, Message::new(format!("the {name} is a file")).hint("name a folder"));
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

    /// What a person wants given up.
    pub(super) async fn given_up(&mut self, stores: &Stores) -> Result<Option<GivenUp>, PlanError> {
        if !self.options.fresh {
            return Ok(None);
        }
        if self.config.checkpoint.is_none() {
            let what =
                format!("--fresh gives the job of a checkpoint up, and {} has none", self.config.file.path().display());
            return Err(PlanError::refused(
                what,
                "choose another sink, which is empty, or remove the old output by hand",
            ));
        }
        let (Some(sink), Some(checkpoint)) = (&stores.sink, &stores.checkpoint) else { return Ok(None) };
        Ok(Some(commit::to_give_up(checkpoint, sink).await?))
    }

    /// Jobs that are given up.
    fn gone(&self) -> Vec<&str> {
        self.given_up.iter().flat_map(GivenUp::jobs).collect()
    }

    /// The job that the checkpoint belongs to. None if it belongs to one with other places, which is a problem.
    pub(super) async fn root(&mut self, stores: &Stores) -> Result<Option<Root>, PlanError> {
        let Some(checkpoint) = stores.checkpoint.as_ref().filter(|_| !self.options.fresh) else { return Ok(None) };
        let root = match Root::read(checkpoint).await {
            Err(CommitError::Deleted) if self.options.completes_deletion => {
                commit::delete_all(checkpoint).await?;
                None
            }
            read => read?,
        };
        let Some(root) = root else {
            self.refuse_to_move_nothing(checkpoint);
            return Ok(None);
        };
        let moved = moved(&root, stores);
        if moved.is_empty() || self.options.relocate {
            self.refuse_other_layout(&root);
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

    /// Half of a job's results in folders of objects are of use to nobody.
    fn refuse_other_layout(&mut self, root: &Root) {
        if root.genesis.layout == layout(self.config) {
            return;
        }
        let hint = "where a job's files lie is fixed when it begins: write `layout` under [sink] as it was, or begin a new job \
                    with another checkpoint and an empty sink";
        let message = Message::new("the checkpoint belongs to a job with another `layout` of its sink").hint(hint);
        let (written, sink) = (&self.config.sink.layout, &self.config.sink.path);
        let span = written.as_ref().map(|written| &written.span).or(sink.as_ref().map(|written| &written.span));
        if let Some(span) = span {
            self.problem_at(&span.clone(), message);
        }
    }

    /// Whoever says that a job was moved means one that has begun.
    fn refuse_to_move_nothing(&mut self, checkpoint: &Store) {
        let written = self.config.checkpoint.as_ref().and_then(|checkpoint| checkpoint.path.as_ref());
        if let Some(written) = written.filter(|_| self.options.relocate) {
            let message =
                format!("--relocate goes on with a job that was moved, and no job has begun in {}", checkpoint.url());
            let hint = "name the folder that the checkpoint was moved to; without --relocate a new job begins here";
            self.problem(written, Message::new(message).hint(hint));
        }
    }

    /// Another job whose sink this is, if it may turn out to be this one, finished. Any other that is in the way is a problem.
    pub(super) async fn finished_job(
        &mut self,
        stores: &Stores,
        root: Option<&Root>,
    ) -> Result<Option<OtherJobs>, PlanError> {
        match self.other_jobs(stores, root).await? {
            Some(OtherJobs { refusal, finished: None }) => {
                self.refuse_sink(refusal);
                Ok(None)
            }
            others => Ok(others),
        }
    }

    /// What a finished job has left, if it has done what this one would do. If it has done something else, that is a problem.
    pub(super) fn same_job(
        &mut self,
        finished: Option<OtherJobs>,
        source: &Store,
        objects: &[Object],
        fingerprint: &Fingerprint,
    ) -> Result<Option<Manifest>, ()> {
        let Some(others) = finished else { return Ok(None) };
        others.same(source, objects, fingerprint).map(Some).map_err(|refusal| self.refuse_sink(refusal))
    }

    /// Other jobs whose sink this is, if that is in the way. What the claims say to a job that has begun, its run asks.
    async fn other_jobs(&mut self, stores: &Stores, root: Option<&Root>) -> Result<Option<OtherJobs>, PlanError> {
        let (Some(sink), Some(checkpoint)) = (&stores.sink, &stores.checkpoint) else { return Ok(None) };
        if self.is_shared() {
            self.refuse_forgetting();
            self.refuse_shared_mirror();
            return Ok(None);
        }
        let others = commit::other_jobs(sink, root.map(|root| root.genesis.job.as_str())).await;
        let mut others = others.map_err(|cause| PlanError::Store { what: "cannot list the sink".into(), cause })?;
        others.retain(|job| !self.gone().contains(&job.as_str()));
        match (others.as_slice(), root) {
            ([], Some(_)) => Ok(None),
            ([], None) => self.claimed(sink, checkpoint).await,
            ([first, more @ ..], _) => {
                let is_new = root.is_none() && !self.options.fresh;
                let is_candidate = more.is_empty() && is_new && self.config.checkpoint.is_some();
                self.beside_output(sink, checkpoint, first, is_candidate).await.map(Some)
            }
        }
    }

    fn is_shared(&self) -> bool {
        self.config.sink.shared()
    }

    /// Another job has claimed the sink, and has not written yet.
    async fn claimed(&self, sink: &Store, checkpoint: &Store) -> Result<Option<OtherJobs>, PlanError> {
        let (place, shared) = (commit::Place::of(checkpoint), false);
        let claimant = commit::Claimant { job: String::new(), place, shared, is_moved: false };
        match commit::refuse_taken(sink, &claimant, &self.gone()).await {
            Ok(()) => Ok(None),
            Err(refused @ CommitError::Refused(_)) => {
                Ok(Some(OtherJobs { refusal: Message::of(&refused), finished: None }))
            }
            Err(other) => Err(other.into()),
        }
    }

    /// Another job has written into the sink. `is_candidate` is whether it may turn out to be this one.
    async fn beside_output(
        &self,
        sink: &Store,
        checkpoint: &Store,
        job: &str,
        is_candidate: bool,
    ) -> Result<OtherJobs, PlanError> {
        let manifest = match commit::manifest(sink, job).await {
            Ok(manifest) => manifest,
            // It would say whether this job is that one.
            Err(error) if is_candidate => return Err(error.into()),
            Err(_) => None,
        };
        // What cannot be read here cannot make the refusal less right.
        let whose = commit::whose(sink, job).await.unwrap_or_default();
        let is_finished = self.config.checkpoint.is_some() && manifest.is_some();
        let finished = if is_finished { ", which is finished" } else { "" };
        let whose = whose.map(|whose| format!("; {whose}")).unwrap_or_default();
        let message = format!("the sink {} holds output of another job ({job}){finished}{whose}", sink.url());
        let hint = match self.config.checkpoint {
            Some(_) if is_finished => {
                "if this is that job and its checkpoint was deleted, there is nothing to do; to do it again, or for other rows, \
                 choose an empty folder (`shared = true` under [sink] would keep both outputs side by side)"
            }
            Some(_) => {
                "choose an empty folder; or put that job's checkpoint back to go on with it (`shared = true` under [sink] would \
                 keep both outputs side by side)"
            }
            None => "choose another, which is empty: a pipeline without [checkpoint] is a new job each time it runs",
        };
        let manifest = manifest.filter(|manifest| is_candidate && manifest.is_done_for_good());
        let is_here = commit::is_place_of(sink, job, &commit::Place::of(checkpoint)).await.unwrap_or(false);
        let is_whole = match &manifest {
            Some(manifest) => is_whole(sink, manifest).await?,
            None => false,
        };
        let finished = manifest.filter(|_| is_here && is_whole);
        Ok(OtherJobs { refusal: Message::new(message).hint(hint), finished })
    }

    fn refuse_sink(&mut self, refusal: Message) {
        if let Some(written) = &self.config.sink.path {
            self.problem(written, refusal);
        }
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

    /// A mark in an object's folder would say of two jobs what one has done.
    fn refuse_shared_mirror(&mut self) {
        let written = self.config.sink.layout.as_ref().filter(|written| written.value == config::Layout::Mirror);
        if let Some(written) = written {
            let message = Message::new("a shared sink has no folders of objects, whose marks would be of one job only");
            self.problem(written, message.hint("give the job a sink of its own; or write layout = \"flat\""));
        }
    }

    /// The objects of the source, and what lies beside them.
    pub(super) async fn objects(&mut self, stores: &Stores, root: Option<&Root>) -> Result<Option<Survey>, PlanError> {
        let (Some((pattern, source)), Some(written)) = (&stores.source, &self.config.source.path) else {
            return Ok(None);
        };
        let kind = match (&self.config.source.format, root) {
            (Some(format), _) => Some(kind_of(format.value)),
            (None, root) => root.map(|root| kind_of_name(&root.fingerprint.source_format)),
        };
        match source::survey(source, pattern, kind).await {
            Ok(found) => {
                self.refuse_own_folder(&found.objects);
                Ok(Some(found))
            }
            Err(error @ SourceError::Bad { .. }) => {
                self.problem(written, Message::of(&error));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Draft<'_> {
    /// In the layout `mirror` its folder would be ours, which readers of the sink skip.
    fn refuse_own_folder(&mut self, objects: &[Object]) {
        let is_own = |object: &&Object| object.path.strip_prefix(OWN_FOLDER).is_some_and(|rest| rest.starts_with('/'));
        let written = self.config.sink.layout.as_ref().filter(|written| written.value == config::Layout::Mirror);
        if let (Some(written), Some(object)) = (written, objects.iter().find(is_own)) {
            let message = format!("{} would have its results in {OWN_FOLDER}/, where no output lies", object.path);
            self.problem(
                written,
                Message::new(message).hint("take it from another `path`, or write layout = \"flat\""),
            );
        }
    }
}

fn kind_of(format: config::Format) -> FileKind {
    match format {
        config::Format::Parquet => FileKind::Parquet,
        config::Format::JsonLines => FileKind::JsonLines,
    }
}

/// As the log names it.
fn kind_of_name(name: &str) -> FileKind {
    if name == "jsonl" { FileKind::JsonLines } else { FileKind::Parquet }
}

/// Whether all that it names is in the sink.
async fn is_whole(sink: &Store, manifest: &Manifest) -> Result<bool, PlanError> {
    let listing = commit::list_sink(sink).await;
    let listing = listing.map_err(|cause| PlanError::Store { what: "cannot list the sink".into(), cause })?;
    Ok(commit::check_files(manifest.all_files(), &listing).is_ok())
}

fn takes_from(pattern: &Pattern, source: &Store, other: &Store) -> bool {
    source.below(other).is_some_and(|below| pattern.takes_below(&below))
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

pub(super) fn is_missing(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}
