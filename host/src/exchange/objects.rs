//! Objects that were done elsewhere, whole: those of a list, or those that have an output already.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use tokio::runtime::Handle;

use super::{ExchangeError, may_begin};
use crate::format::EXTENSIONS;
use crate::format::parquet::Parquet;
use crate::message::Message;
use crate::plan::Plan;
use crate::source::{self, FileKind, Object, SourceError};
use crate::store::{Environment, Location, Settings, Store, Watch};

/// Names that are said of those that are wrong.
const NAMED_MAX: usize = 5;
/// Outputs that are opened at once.
const OUTPUTS_AT_ONCE: usize = 16;

/// Which objects of a source were done.
#[derive(Clone, Debug)]
pub enum Done<'a> {
    /// Their names, relative to the source or with its URL before them.
    Listed(&'a [String]),
    /// A folder with an output of each, under the object's name.
    Shards(&'a str),
}

/// The objects of the plan's source that were done elsewhere. The plan's job must not have begun.
pub fn objects_done(
    plan: &Plan,
    done: &Done<'_>,
    watch: &Arc<dyn Watch>,
    runtime: &Handle,
) -> Result<Vec<Object>, ExchangeError> {
    may_begin(plan)?;
    match done {
        Done::Listed(names) => listed(plan, names),
        Done::Shards(folder) => runtime.block_on(with_output(plan, folder, watch)),
    }
}

fn listed(plan: &Plan, names: &[String]) -> Result<Vec<Object>, ExchangeError> {
    let root = format!("{}/", plan.source.store.url().trim_end_matches('/'));
    let mut names: BTreeSet<&str> = names.iter().map(|name| name.strip_prefix(&root).unwrap_or(name)).collect();
    let found = plan.source.objects.iter().filter(|object| names.remove(object.path.as_ref())).cloned().collect();
    match names.first() {
        None => Ok(found),
        Some(_) => Err(unknown(&names, plan.source.store.url())),
    }
}

fn unknown(names: &BTreeSet<&str>, source: &str) -> ExchangeError {
    let named: Vec<String> = names.iter().take(NAMED_MAX).map(|name| format!("`{}`", name.escape_debug())).collect();
    let more = if names.len() > NAMED_MAX { ", ..." } else { "" };
    ExchangeError::refused(
        format!("the list names {} object(s) that the source does not have: {}{more}", names.len(), named.join(", ")),
        &format!("nothing was imported; name objects relative to {source}"),
    )
}

/// Objects with an output that is whole: a sentinel says so, or it has as many rows.
async fn with_output(plan: &Plan, folder: &str, watch: &Arc<dyn Watch>) -> Result<Vec<Object>, ExchangeError> {
    let outputs = Outputs::list(folder, watch).await?;
    let looks: Vec<_> = plan.source.objects.iter().map(|object| outputs.are_whole(plan, object)).collect();
    let whole: Vec<bool> = futures::stream::iter(looks).buffered(OUTPUTS_AT_ONCE).try_collect().await?;
    let objects = plan.source.objects.iter().zip(whole);
    Ok(objects.filter(|(_, is_whole)| *is_whole).map(|(object, _)| object.clone()).collect())
}

/// What lies in a folder of outputs.
struct Outputs {
    store: Store,
    objects: BTreeMap<String, Object>,
}

impl Outputs {
    async fn list(folder: &str, watch: &Arc<dyn Watch>) -> Result<Outputs, ExchangeError> {
        let here = std::env::current_dir().unwrap_or_default();
        let location = Location::parse(folder, &here).map_err(ExchangeError::Refused)?;
        let opened = Store::open("shards", &location, &Settings::default(), &Environment::of_process(), watch);
        let cannot = |error| ExchangeError::Refused(Message::brief(&error).after(format!("cannot open {folder}: ")));
        let store = opened.map_err(cannot)?;
        let all = store.objects().list(None).map_ok(|found| (found.location.to_string(), found.into()));
        let objects = all.try_collect().await;
        let objects = objects.map_err(|cause| ExchangeError::Store { file: folder.into(), cause })?;
        Ok(Outputs { store, objects })
    }

    async fn are_whole(&self, plan: &Plan, object: &Object) -> Result<bool, ExchangeError> {
        let names = output_names(&object.path);
        if names.iter().flat_map(|name| sentinels(name)).any(|name| self.objects.contains_key(&name)) {
            return Ok(true);
        }
        let is_parquet = |name: &str| FileKind::of(name) == Some(FileKind::Parquet);
        let output = names.iter().filter(|name| is_parquet(name)).find_map(|name| self.objects.get(name));
        match output.filter(|_| is_parquet(&object.path)) {
            None => Ok(false),
            Some(output) => Ok(rows(&self.store, output).await? == rows(&plan.source.store, object).await?),
        }
    }
}

/// By its footer.
async fn rows(store: &Store, object: &Object) -> Result<u64, ExchangeError> {
    let file = || format!("{}/{}", store.url(), object.path);
    source::open(store, &Parquet, object, 0).await.map(|opened| opened.rows).map_err(|error| match error {
        SourceError::Store { cause, .. } => ExchangeError::Store { file: file(), cause },
        other => ExchangeError::Refused(Message::brief(&other).after(format!("{}: ", store.url()))),
    })
}

/// How the output of an object may be called: as the object, or with the end of another format.
fn output_names(object: &str) -> Vec<String> {
    let mut names = vec![object.to_owned()];
    if let Some(stem) = stem(object) {
        names.push(stem.to_owned());
        names.extend(EXTENSIONS.iter().map(|extension| format!("{stem}.{extension}")).filter(|name| name != object));
    }
    names
}

/// Without what says its format.
fn stem(object: &str) -> Option<&str> {
    FileKind::of(object)?;
    let name = [".gz", ".zst"].iter().find_map(|end| object.strip_suffix(end)).unwrap_or(object);
    name.rsplit_once('.').map(|(stem, _)| stem)
}

/// What may lie beside an output, or in it, to say that it is whole.
fn sentinels(output: &str) -> [String; 2] {
    [format!("{output}.done"), format!("{output}/_SUCCESS")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_called_as_objects_are() {
        let names = output_names("a/b.jsonl.gz");
        let expected = ["a/b.jsonl.gz", "a/b", "a/b.parquet", "a/b.jsonl", "a/b.jsonl.zst"];
        assert_eq!(names, expected);
        assert_eq!(output_names("a/b"), ["a/b"]);
        assert_eq!(sentinels("a/b"), ["a/b.done", "a/b/_SUCCESS"]);
    }
}
