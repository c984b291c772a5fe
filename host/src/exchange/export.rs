//! The ids of a job as Parquet files in a folder of their own: what Ray Data takes for a checkpoint of its own, and what
//! `import` reads.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::StreamExt;
use serde::Serialize;
use tokio::runtime::Handle;

use super::ExchangeError;
use crate::commit::{CommitError, View, random_name};
use crate::format::parquet::{Compression, ParquetOutput};
use crate::sink::{FileWriter, Layout, Output, OutputKind, Sink, Spec};
use crate::store::Store;

/// An exported file that has grown beyond this is closed.
const FILE_BYTES_MAX: u64 = 256 << 20;
const ROW_GROUP_BYTES_MAX: usize = 64 << 20;

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Ids in all; those of an imported list that stand in several of its files count as often.
    pub ids: u64,
    /// Files.
    pub files: u64,
}

/// Writes the ids of all rows that are done, here or elsewhere, into the folder `to`, which must hold nothing.
pub fn export(view: &View, checkpoint: &Store, to: &Store, runtime: &Handle) -> Result<Exported, ExchangeError> {
    let columns = id_columns(view)?;
    refuse_full(to, runtime)?;
    let mut exported = Exported::default();
    let mut open: Option<FileWriter> = None;
    for file in view.ids() {
        for side in runtime.block_on(file.read(checkpoint))? {
            let ids = only(&columns, &side, &file.file().path)?;
            let mut writer = match open.take() {
                Some(writer) => writer,
                None => begin(view, to, &ids, runtime)?,
            };
            writer.write(&ids)?;
            exported.ids += ids.num_rows() as u64;
            match writer.is_full() {
                true => exported.files += close(writer, runtime)?,
                false => open = Some(writer),
            }
        }
    }
    if let Some(writer) = open {
        exported.files += close(writer, runtime)?;
    }
    Ok(exported)
}

fn id_columns(view: &View) -> Result<Vec<&str>, ExchangeError> {
    let columns = view.root.genesis.ids.as_ref().ok_or_else(|| {
        ExchangeError::refused(
            "the rows of this job are known by position: there are no ids to export",
            "name id columns with `id` under [source] of a new job",
        )
    })?;
    Ok(columns.iter().map(|column| column.name.as_str()).collect())
}

/// A side file may say more of an id than the id.
fn only(columns: &[&str], side: &RecordBatch, path: &str) -> Result<RecordBatch, ExchangeError> {
    let places: Result<Vec<usize>, _> = columns.iter().map(|name| side.schema().index_of(name)).collect();
    let ids = places.and_then(|places| side.project(&places));
    Ok(ids.map_err(|error| CommitError::Damaged { name: path.into(), message: error.to_string() })?)
}

/// A reader takes every file of the folder.
fn refuse_full(to: &Store, runtime: &Handle) -> Result<(), ExchangeError> {
    let first = runtime.block_on(to.objects().list(None).next()).transpose();
    match first.map_err(|cause| ExchangeError::Store { file: to.url().into(), cause })? {
        None => Ok(()),
        Some(meta) => Err(ExchangeError::refused(
            format!("{} holds {} already", to.url(), meta.location),
            "name a folder that is empty or not there",
        )),
    }
}

fn begin(view: &View, to: &Store, ids: &RecordBatch, runtime: &Handle) -> Result<FileWriter, ExchangeError> {
    let output = Output {
        kind: OutputKind::Results,
        schema: ids.schema(),
        format: Arc::new(ParquetOutput { compression: Compression::Zstd, row_group_bytes_max: ROW_GROUP_BYTES_MAX }),
        file_bytes_max: FILE_BYTES_MAX,
        layout: Layout::Flat,
    };
    let spec = Spec { store: to.clone(), outputs: vec![output] };
    let sink = Sink::new(spec, &view.root.genesis.job, 0, &random_name(), runtime.clone());
    Ok(sink.file(OutputKind::Results)?)
}

fn close(writer: FileWriter, runtime: &Handle) -> Result<u64, ExchangeError> {
    runtime.block_on(writer.close()?.complete())?;
    Ok(1)
}
