//! Documents about a run or a job, as JSON: for people, and for programs that read the output.

use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::Serialize;

use super::RunError;
use crate::commit::CommitError;
use crate::observe::Summary;
use crate::plan::Plan;
use crate::store::Store;

/// Writes `runs/<run>/summary.json`.
pub(super) async fn write_summary(plan: &Plan, summary: &Summary) -> Result<(), RunError> {
    write_run_file(plan, summary.run.as_deref().expect("an opened run has a name"), "summary.json", summary).await
}

pub(super) async fn write_run_file(plan: &Plan, run: &str, name: &str, value: &impl Serialize) -> Result<(), RunError> {
    write_json(&plan.checkpoint, &format!("runs/{run}/{name}"), value).await
}

async fn write_json(store: &Store, name: &str, value: &impl Serialize) -> Result<(), RunError> {
    let bytes = serde_json::to_vec_pretty(value).expect("plain values are JSON");
    let put = store.objects().put(&Path::from(name), bytes.into()).await;
    put.map(drop).map_err(|cause| CommitError::Store { what: "write", name: name.into(), cause }.into())
}

/// A finished job that is run again writes nothing.
pub(super) async fn write_json_if_other(store: &Store, name: &str, value: &impl Serialize) -> Result<(), RunError> {
    let failed = |cause| CommitError::Store { what: "read", name: name.into(), cause };
    let there = match store.objects().get(&Path::from(name)).await {
        Ok(got) => Some(got.bytes().await.map_err(failed)?),
        Err(object_store::Error::NotFound { .. }) => None,
        Err(cause) => return Err(failed(cause).into()),
    };
    if there.as_deref() == Some(&serde_json::to_vec_pretty(value).expect("plain values are JSON")[..]) {
        return Ok(());
    }
    write_json(store, name, value).await
}
