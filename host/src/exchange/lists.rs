//! Which files hold ids, and of what format.

use std::path::Path;
use std::sync::Arc;

use super::{ExchangeError, Lists};
use crate::message::Message;
use crate::plan::Plan;
use crate::source::{self, FileKind, Object, Pattern, SourceError, Survey};
use crate::store::{Environment, Location, Settings, Store, Watch};

/// How Ray Data calls ids of rows whose output may be there or not.
const PENDING: &str = ".pending.parquet";

/// One file with ids.
pub(super) struct List {
    pub(super) store: Store,
    pub(super) object: Object,
    pub(super) format: Format,
    /// Where it lies, as short as it can be said here.
    name: String,
}

/// What a file's name ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Parquet,
    Csv,
    JsonLines,
}

impl List {
    /// For messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// All files that are named.
pub(super) async fn find(lists: &Lists, watch: &Arc<dyn Watch>) -> Result<Vec<List>, ExchangeError> {
    let mut found = Vec::new();
    for from in &lists.from {
        let (store, pattern) = open(from, watch)?;
        let survey = source::survey(&store, &pattern, Some(FileKind::Parquet)).await;
        let Survey { objects, passed, .. } = survey.map_err(|error| unreadable(from, error))?;
        passed.lines().iter().for_each(|line| tracing::warn!("in {from}, {line}"));
        if objects.is_empty() {
            let hint =
                "name a folder of .parquet files, a file that ends in .parquet, .csv or .jsonl, or a glob of such";
            return Err(ExchangeError::refused(format!("{from} has no file with ids"), hint));
        }
        refuse_pending(from, &objects)?;
        for object in objects {
            let name = match pattern.root().local() {
                Some(root) => shown(&root.join(object.path.as_ref())),
                None => format!("{}/{}", store.url(), object.path),
            };
            let format = format(&name, lists.are_outputs)?;
            found.push(List { store: store.clone(), object, format, name });
        }
    }
    Ok(found)
}

/// Objects of the plan's source.
pub(super) fn of_objects(plan: &Plan, objects: &[Object]) -> Result<Vec<List>, ExchangeError> {
    let list = |object: &Object| {
        let store = plan.source.store.clone();
        let name = match store.local_root() {
            Some(root) => shown(&root.join(object.path.as_ref())),
            None => format!("{}/{}", store.url(), object.path),
        };
        let format = format(&name, false)?;
        Ok(List { store, object: object.clone(), format, name })
    };
    objects.iter().map(list).collect()
}

/// A path as a person here would write it.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let relative = here.as_ref().and_then(|here| path.strip_prefix(here).ok());
    relative.unwrap_or(path).display().to_string()
}

fn open(from: &str, watch: &Arc<dyn Watch>) -> Result<(Store, Pattern), ExchangeError> {
    let here = std::env::current_dir().unwrap_or_default();
    let location = Location::parse(from, &here).map_err(ExchangeError::Refused)?;
    // A shell has made names of its patterns already.
    let pattern = match location.local() {
        Some(path) if path.exists() => Pattern::literal(&location),
        _ => Pattern::new(&location, &here),
    };
    let pattern = pattern
        .map_err(|message| ExchangeError::Refused(message.or_hint("name a file, a folder or a glob that is there")))?;
    let (settings, environment) = (Settings::default(), Environment::of_process());
    let store = Store::open("import", pattern.root(), &settings, &environment, watch);
    let store =
        store.map_err(|error| ExchangeError::Refused(Message::brief(&error).after(format!("cannot open {from}: "))))?;
    Ok((store, pattern))
}

fn unreadable(from: &str, error: SourceError) -> ExchangeError {
    match error {
        SourceError::Store { cause, .. } => ExchangeError::Store { file: from.into(), cause },
        other => ExchangeError::Refused(Message::brief(&other)),
    }
}

/// Ray Data writes ids as pending, then the output, then gives the ids their name: rows of a pending file are not done, and
/// what stands in the output for them is to be removed, as Ray Data does when it goes on.
fn refuse_pending(from: &str, objects: &[Object]) -> Result<(), ExchangeError> {
    let mut pending = objects.iter().filter(|object| object.path.ends_with(PENDING));
    let Some(first) = pending.next() else { return Ok(()) };
    let task = first.path.rsplit('/').next().and_then(|name| name.strip_suffix(PENDING)).unwrap_or_default();
    let others = pending.count();
    let others = if others == 0 { String::new() } else { format!(", and {others} more like it") };
    Err(ExchangeError::refused(
        format!("{from} has {}{others}: the output of its rows was not finished, or not acknowledged", first.path),
        &format!(
            "move output files whose names begin with `{task}` elsewhere, then the pending file, so that its rows are run here; so for \
             each of them, then import again"
        ),
    ))
}

fn format(path: &str, is_output: bool) -> Result<Format, ExchangeError> {
    let ending = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "parquet" => Ok(Format::Parquet),
        _ if is_output => Err(ExchangeError::refused(
            format!("{path} is no Parquet file"),
            "name the folder of the output; ids of other files are imported without --from-output",
        )),
        "csv" => Ok(Format::Csv),
        "jsonl" | "ndjson" => Ok(Format::JsonLines),
        _ => Err(ExchangeError::refused(
            format!("{path} is of no format that ids are read from"),
            "name files that end in .parquet, .csv, .jsonl or .ndjson",
        )),
    }
}
