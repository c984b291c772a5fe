//! What dead writers left behind. A file is deleted only if no entry that counts names it and a later open of its lane
//! has made its token dead; never by prefix, never by age. Names say whose a file is:
//! `<job>-<lane>-<token>-<sequence>.parquet` in the sink and, for dead letters, in a folder below it, `<token>-<name>` under
//! `side/`.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};

use super::CommitError;
use super::compact::entries_to_delete;
use super::entry::FileEntry;
use super::log::{LaneLog, get};
use super::replay::LaneState;
use super::root::Root;
use crate::sink::{FileName, Layout, OWN_FOLDER, OutputKind};
use crate::store::{Listed, Object, Oddity, Store, location, staged_for};

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Sink files that no segment names, staged local ones and unfinished uploads included.
    pub sink_files: u64,
    /// Side files that no entry names.
    pub side_files: u64,
    /// Entries that a compaction covers, and staged local ones.
    pub entries: u64,
}

/// Removes what dead writers of lanes left. `names` are the sink's; `lanes` are lanes that this process has opened: the
/// entries below its opens, and what they say.
pub async fn sweep(
    root: &Root,
    lanes: &[&(LaneLog, LaneState)],
    checkpoint: &Store,
    sink: &Store,
    names: &[String],
) -> Result<Swept, CommitError> {
    let states = lanes.iter().map(|(_, state)| state);
    let dead = Dead::of(root, states.clone());
    let orphans = orphans(&dead, states, names.iter().map(String::as_str));
    let mut swept = Swept { sink_files: orphans.len() as u64, ..Swept::default() };
    delete(sink, orphans).await?;
    swept.sink_files += remove_staged_files(sink, &dead).await?;
    swept.side_files = sweep_side(root, lanes, checkpoint, &dead).await?;
    swept.entries += remove_staged_entries(checkpoint, root, lanes).await?;
    swept.side_files += remove_staged(checkpoint, "side/", |name| dead.has_token(name)).await?;
    for (log, state) in lanes {
        let covered = entries_to_delete(state.lane, log.covered.iter().copied(), state);
        swept.entries += covered.len() as u64;
        delete(checkpoint, covered).await?;
    }
    swept.sink_files += abort_uploads(sink, |name| dead.wrote(name)).await?;
    Ok(swept)
}

/// Removes what came into the sink after the sweep, of writers that can commit no more: lanes that this process holds, and whose
/// rows are all done. `listing` was made after that.
pub async fn sweep_late<'a>(
    root: &'a Root,
    lanes: impl Iterator<Item = &'a LaneState> + Clone,
    sink: &Store,
    listing: &[Listed],
) -> Result<(), CommitError> {
    let late = orphans(&Dead::of(root, lanes.clone()), lanes, listing.iter().map(|found| found.name.as_str()));
    delete(sink, late).await
}

/// Files of dead writers that do not count.
fn orphans<'a, 'b>(
    dead: &Dead<'_>,
    lanes: impl Iterator<Item = &'a LaneState>,
    names: impl Iterator<Item = &'b str>,
) -> Vec<Path> {
    // What has the name of a file that counts, in another folder, is a copy that somebody has made.
    let counting: HashSet<&str> = lanes.flat_map(LaneState::files).map(|file| base(&file.path)).collect();
    names.filter(|name| !counting.contains(base(name)) && dead.wrote(name)).map(location).collect()
}

fn base(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Writers that a later open of their lane has made dead: lane by token.
struct Dead<'a> {
    root: &'a Root,
    tokens: HashMap<&'a str, u32>,
}

impl<'a> Dead<'a> {
    /// What was opened before the job was moved is left alone: where it was moved from, it may live on.
    fn of(root: &'a Root, lanes: impl Iterator<Item = &'a LaneState>) -> Dead<'a> {
        let opens = lanes.flat_map(|state| state.opens.values().map(move |open| (open, state.lane)));
        let opens = opens.filter(|(open, _)| open.root >= root.relocated);
        Dead { root, tokens: opens.map(|(open, lane)| (open.token.as_str(), lane)).collect() }
    }

    /// Whether a side file is of one of them: `side/<token>-<name>`.
    fn has_token(&self, path: &str) -> bool {
        let token = path.strip_prefix("side/").and_then(|name| name.split_once('-')).map(|(token, _)| token);
        token.is_some_and(|token| self.tokens.contains_key(token))
    }

    fn wrote(&self, name: &str) -> bool {
        self.root.file_name(name).is_some_and(|file| self.tokens.get(file.token) == Some(&file.lane))
    }
}

/// What dead writers have staged in the sink and never will complete.
async fn remove_staged_files(sink: &Store, dead: &Dead<'_>) -> Result<u64, CommitError> {
    let is_mirrored = dead.root.genesis.layout == Layout::Mirror;
    let folders = match is_mirrored {
        true => folders_of_staged(sink).await.map_err(|cause| CommitError::store("list", "the sink", cause))?,
        false => OutputKind::ALL.map(|kind| kind.folder().to_owned()).into(),
    };
    let mut removed = 0;
    for folder in folders {
        removed += remove_staged(sink, &folder, |name| dead.wrote(name)).await?;
    }
    Ok(removed)
}

/// Folders in which something is staged, with a slash at their ends.
async fn folders_of_staged(sink: &Store) -> object_store::Result<BTreeSet<String>> {
    let walk = sink.walk(|_| true).await?;
    let staged = walk.odd.iter().filter(|odd| odd.why == Oddity::Staged);
    Ok(staged.map(|odd| odd.path[..odd.path.len() - base(&odd.path).len()].to_owned()).collect())
}

/// What writers began to stage and never will complete: their number was taken before this process read it.
async fn remove_staged_entries(
    checkpoint: &Store,
    root: &Root,
    lanes: &[&(LaneLog, LaneState)],
) -> Result<u64, CommitError> {
    let logs = lanes.iter().map(|(_, state)| (format!("lane/{}/", state.lane), state.last));
    let mut removed = 0;
    for (log, last) in logs.chain([("root/".to_string(), Some(root.last))]) {
        let is_taken = |name: &str| {
            let number = name.rsplit('/').next().and_then(|digits| digits.parse::<u64>().ok());
            number.is_some_and(|number| last.is_some_and(|last| number <= last))
        };
        removed += remove_staged(checkpoint, &log, is_taken).await?;
    }
    Ok(removed)
}

/// Removes what dead writers have staged in a folder and never will complete.
pub(super) async fn remove_staged(
    store: &Store,
    folder: &str,
    is_dead: impl Fn(&str) -> bool,
) -> Result<u64, CommitError> {
    let mut removed = 0;
    for name in store.staged(folder).await.map_err(|cause| CommitError::store("list", folder, cause))? {
        if staged_for(&name).is_some_and(|target| is_dead(&format!("{folder}{target}"))) {
            let result = store.remove_staged(folder, &name).await;
            result.map_err(|cause| CommitError::store("delete", name, cause))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Gives up the uploads in parts of dead writers: nobody sees them, but somebody pays for them. A store that does not let us
/// list them keeps them until its own rules remove them; that is no reason not to run.
pub(super) async fn abort_uploads(sink: &Store, is_dead: impl Fn(&str) -> bool) -> Result<u64, CommitError> {
    use object_store::Error::{NotImplemented, NotSupported, PermissionDenied};
    let uploads = match sink.unfinished_uploads().await {
        Err(error @ (PermissionDenied { .. } | NotSupported { .. } | NotImplemented { .. })) => {
            tracing::warn!(sink = sink.url(), %error, "uploads that dead runs left in parts cannot be listed");
            return Ok(0);
        }
        uploads => uploads.map_err(|cause| CommitError::store("list", "unfinished uploads", cause))?,
    };
    let mut aborted = 0;
    for upload in uploads.iter().filter(|upload| is_dead(&upload.object)) {
        let result = sink.abort_upload(upload).await;
        result.map_err(|cause| CommitError::store("give up the upload of", &upload.object, cause))?;
        aborted += 1;
    }
    Ok(aborted)
}

async fn sweep_side(
    root: &Root,
    lanes: &[&(LaneLog, LaneState)],
    store: &Store,
    dead: &Dead<'_>,
) -> Result<u64, CommitError> {
    let found: Vec<Path> = store
        .objects()
        .list(Some(&Path::from("side")))
        .map_ok(|meta| meta.location)
        .try_collect()
        .await
        .map_err(|cause| CommitError::store("list", "side", cause))?;
    let mut named: HashSet<&str> = lanes.iter().flat_map(|(_, state)| &state.side_files).map(String::as_str).collect();
    named.extend(root.side_files.iter().map(String::as_str));
    let is_orphan = |path: &Path| !named.contains(path.as_ref()) && dead.has_token(path.as_ref());
    let orphans: Vec<Path> = found.into_iter().filter(is_orphan).collect();
    let count = orphans.len() as u64;
    delete(store, orphans).await?;
    Ok(count)
}

/// Deletes objects; one that is not there is as good as deleted.
pub(super) async fn delete(store: &Store, paths: Vec<Path>) -> Result<(), CommitError> {
    let paths = futures::stream::iter(paths).map(Ok).boxed();
    let mut deleted = store.objects().delete_stream(paths);
    while let Some(result) = deleted.next().await {
        match result {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(cause) => return Err(CommitError::store("delete", "an orphan", cause)),
        }
    }
    Ok(())
}

/// Sink files that the log names must be there with their sizes.
pub fn check_files<'a>(files: impl IntoIterator<Item = &'a FileEntry>, listing: &[Listed]) -> Result<(), CommitError> {
    let found: HashMap<&str, u64> = listing.iter().map(|found| (found.name.as_str(), found.bytes)).collect();
    let wrong: Vec<String> = files
        .into_iter()
        .filter_map(|file| match found.get(file.path.as_str()) {
            None => Some(format!("{} is missing", file.path)),
            Some(&bytes) if bytes != file.bytes => {
                Some(format!("{} has {bytes} bytes instead of {}", file.path, file.bytes))
            }
            Some(_) => None,
        })
        .collect();
    let Some(first) = wrong.first() else { return Ok(()) };
    Err(CommitError::refused(
        format!("{} sink file(s) that the checkpoint names are not what they were: {first}", wrong.len()),
        "put them back from a copy; or let `wasmpipe checkpoint verify --repair` give up their rows, which are \
         then done again",
    ))
}

/// Names in a sink that belong to other jobs than `job`.
pub async fn other_jobs(sink: &Store, job: Option<&str>) -> object_store::Result<Vec<String>> {
    let (left, names) = (sink.names(OWN_FOLDER).await?, sink_names(sink).await?);
    let manifests = left.iter().filter_map(|name| name.strip_suffix(".json"));
    let files = names.iter().filter_map(|name| FileName::parse(name)).map(|file| file.job);
    let others: BTreeSet<&str> = manifests.chain(files).filter(|other| Some(*other) != job).collect();
    Ok(others.into_iter().map(str::to_owned).collect())
}

/// The objects of the sink that may be ours, with their sizes.
pub async fn list_sink(sink: &Store) -> object_store::Result<Vec<Listed>> {
    if has_mirror(sink).await? {
        let listed = |Object { path, size, .. }: Object| Listed { name: path.to_string(), bytes: size };
        return Ok(sink.walk(|_| true).await?.objects.into_iter().map(listed).collect());
    }
    let mut listed = Vec::new();
    for kind in OutputKind::ALL {
        let below = |found: Listed| Listed { name: format!("{}{}", kind.folder(), found.name), ..found };
        listed.extend(sink.list(kind.folder()).await?.into_iter().map(below));
    }
    Ok(listed)
}

/// The names of the objects of the sink that may be ours.
pub async fn sink_names(sink: &Store) -> object_store::Result<Vec<String>> {
    if has_mirror(sink).await? {
        return Ok(list_sink(sink).await?.into_iter().map(|listed| listed.name).collect());
    }
    let mut names = Vec::new();
    for kind in OutputKind::ALL {
        names.extend(sink.names(kind.folder()).await?.into_iter().map(|name| format!("{}{name}", kind.folder())));
    }
    Ok(names)
}

/// What the name of an object in the sink ends in that says: files of a job lie in folders of their objects.
pub(super) const MIRROR: &str = ".mirror";

/// Says that files of the job may lie in folders of their objects. Before the first of them is written, so that who lists the
/// sink finds all of them, and elsewhere no folder is looked into.
pub async fn note_layout(sink: &Store, root: &Root) -> Result<(), CommitError> {
    let is_flat = root.genesis.layout == Layout::Flat;
    let name = format!("{OWN_FOLDER}/{}{MIRROR}", root.genesis.job);
    if is_flat || get(sink, &name).await?.is_some() {
        return Ok(());
    }
    let put = sink.objects().put(&Path::from(name.as_str()), PutPayload::new()).await;
    put.map(drop).map_err(|cause| CommitError::store("write", name, cause))
}

pub(super) async fn has_mirror(sink: &Store) -> object_store::Result<bool> {
    Ok(sink.names(OWN_FOLDER).await?.iter().any(|name| name.ends_with(MIRROR)))
}
