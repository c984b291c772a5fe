//! Documents about a run, as JSON: for people.

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
