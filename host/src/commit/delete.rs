//! A finished job's checkpoint goes away. First a root entry says so, then everything else is deleted, the root last and
//! from its first entry on: whoever finds that entry, with or without a genesis below it, knows what was meant and
//! completes it. A new job cannot double the output, since the finished one left its manifest in the sink.

use futures::TryStreamExt;
use object_store::path::Path;

use super::entry::RootEntry;
use super::recover::delete;
use super::{CommitError, Root};
use crate::store::Store;

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

/// Deletes the whole checkpoint of a job of which the root says so.
pub async fn delete_all(store: &Store) -> Result<(), CommitError> {
    for folder in FOLDERS {
        delete(store, below(store, folder).await?).await?;
    }
    if let Some(root) = store.local_root() {
        remove_folders(root);
    }
    for entry in below(store, "root").await? {
        delete(store, vec![entry]).await?;
    }
    // A run that read the root just before has opened lanes again.
    delete(store, below(store, "lane").await?).await?;
    if let Some(root) = store.local_root() {
        let _ = std::fs::remove_dir(root.join("root"));
        let _ = std::fs::remove_dir(root);
    }
    Ok(())
}

async fn below(store: &Store, folder: &str) -> Result<Vec<Path>, CommitError> {
    let listed = store.objects().list(Some(&Path::from(folder))).map_ok(|meta| meta.location);
    let mut found: Vec<Path> = listed.try_collect().await.map_err(|cause| CommitError::store("list", folder, cause))?;
    found.sort();
    Ok(found)
}

/// Folders of our own with what no listing shows: lock files, and what writers have staged.
fn remove_folders(root: &std::path::Path) {
    for folder in FOLDERS {
        let _ = std::fs::remove_dir_all(root.join(folder));
    }
}
