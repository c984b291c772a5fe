//! A finished job's checkpoint goes away. First a root entry says so, then everything else is deleted, the root last and
//! from its first entry on: whoever finds that entry, with or without a genesis below it, knows what was meant and
//! completes it. A new job cannot double the output, since the finished one left its manifest in the sink.

use futures::TryStreamExt;
use object_store::path::Path;

use super::entry::RootEntry;
use super::log::{get, number_of};
use super::recover::delete;
use super::{CommitError, Root};
use crate::store::{Store, staged_for};

/// All but the root's, which goes last.
const FOLDERS: [&str; 5] = ["lane", "side", "heartbeat", "stop", "runs"];

/// Says that the checkpoint is to be deleted. `false` if somebody else has appended to the root.
pub async fn mark_deleted(store: &Store, root: &Root) -> Result<bool, CommitError> {
    root.append(store, &RootEntry::Deleted {}).await
}

/// Deletes a genesis that nobody has opened a lane under. It goes like any other checkpoint, so who reads it meanwhile knows.
pub async fn delete_untouched(store: &Store, root: &Root) -> Result<(), CommitError> {
    if below(store, "lane").await?.is_empty() && mark_deleted(store, root).await? {
        delete_all(store).await?;
    }
    Ok(())
}

/// Deletes the whole checkpoint of a job of which the root says so. Only what has a name that this program gives: the folder may
/// have been somebody's before.
pub async fn delete_all(store: &Store) -> Result<(), CommitError> {
    let genesis = get(store, GENESIS).await?;
    for folder in FOLDERS {
        delete(store, below(store, folder).await?).await?;
    }
    if let Some(root) = store.local_root() {
        FOLDERS.iter().for_each(|folder| remove_folder(root, folder));
    }
    for entry in below(store, "root").await? {
        // Another process may have completed this, and a new job may have begun.
        if get(store, GENESIS).await?.is_some_and(|there| genesis.as_ref() != Some(&there)) {
            return Ok(());
        }
        delete(store, vec![entry]).await?;
    }
    if get(store, GENESIS).await?.is_none() {
        // A run that read the root just before has opened lanes again.
        delete(store, below(store, "lane").await?).await?;
    }
    if let Some(root) = store.local_root() {
        ["root", "lane"].iter().for_each(|folder| remove_folder(root, folder));
        let _ = std::fs::remove_dir(root);
    }
    Ok(())
}

/// The first entry of the root.
const GENESIS: &str = "root/0000000000";

/// Files of our own.
async fn below(store: &Store, folder: &str) -> Result<Vec<Path>, CommitError> {
    let listed = store.objects().list(Some(&Path::from(folder))).map_ok(|meta| meta.location);
    let ours = listed.try_filter(|path| std::future::ready(is_ours(path.as_ref())));
    let mut found: Vec<Path> = ours.try_collect().await.map_err(|cause| CommitError::store("list", folder, cause))?;
    found.sort();
    Ok(found)
}

/// Whether a path below the checkpoint is one that this program gives: numbers of entries, and random names of runs and writers.
fn is_ours(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        ["root", number] => number_of(number).is_some(),
        ["lane", lane, number] => lane.parse::<u32>().is_ok() && number_of(number).is_some(),
        ["side" | "heartbeat" | "stop" | "runs", name, ..] => begins_with_random_name(name),
        _ => false,
    }
}

fn begins_with_random_name(name: &str) -> bool {
    let (random, rest) = name.split_at_checked(16).unwrap_or_default();
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    random.len() == 16 && random.bytes().all(is_digit) && (rest.is_empty() || rest.starts_with(['-', '.']))
}

/// A folder with what no listing shows: lock files, and what writers have staged. What is not ours stays.
fn remove_folder(root: &std::path::Path, name: &str) {
    let folder = root.join(name);
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        let Ok(last) = entry.file_name().into_string() else { continue };
        let name = format!("{name}/{last}");
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_folder(root, &name);
        } else if is_ours(staged_for(&name).unwrap_or(&name)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    let _ = std::fs::remove_dir(folder);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::{Unwatched, Watch};

    #[test]
    fn only_names_that_are_given_here_are_ours() {
        for ours in [
            "root/0000000000",
            "lane/12/0000000003",
            "side/0123456789abcdef-ids-3.parquet",
            "heartbeat/0123456789abcdef",
            "heartbeat/0123456789abcdef.lock",
            "stop/0123456789abcdef",
            "runs/0123456789abcdef/summary.json",
        ] {
            assert!(is_ours(ours), "{ours}");
        }
        for other in [
            "runs/exp1/weights.bin",
            "side/notes.txt",
            "root/readme",
            "lane/12/x",
            "lane/a/0000000003",
            "side/0123456789abcdefg",
            "side/0123456789ABCDEF-x",
            "other/0123456789abcdef",
            "runs",
        ] {
            assert!(!is_ours(other), "{other}");
        }
    }

    #[test]
    fn what_somebody_else_keeps_in_the_folder_stays() {
        let folder = tempfile::tempdir().unwrap();
        let watch: Arc<dyn Watch> = Arc::new(Unwatched);
        let store = Store::local("checkpoint", folder.path(), &watch).unwrap();
        let names =
            ["runs/exp1/weights.bin", "runs/0123456789abcdef/plan.json", "side/0123456789abcdef-ids-0.parquet#1"];
        for name in names.iter().chain(&["root/0000000001", "lane/0/0000000000", "notes.txt"]) {
            std::fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(delete_all(&store)).unwrap();
        let mut left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["notes.txt", "runs"]);
        assert_eq!(std::fs::read_dir(folder.path().join("runs")).unwrap().count(), 1);
    }
}
