//! Ids in from elsewhere, ids and results out to elsewhere: a job that another system began goes on here, and one of ours goes on
//! there. Nothing here knows how a job runs: an import is side files that a genesis names, an export reads what the log
//! names.
//!
//! * `lists` - which files hold ids, and of what format.
//! * `objects` - whole objects that were done.
//! * `crew` - threads that share the reading.
//! * `table` - the ids of a Parquet file.
//! * `lines` - the ids of a CSV or JSON Lines file, read as a stream.
//! * `text` - a text becomes exactly one value of an id's type, or none.
//! * `runs` - ids become sorted files of bounded size beside the log.
//! * `publish` - what came of each object as one file with a plain name.
//! * `export` - the ids of a job as Parquet files, which Ray Data takes for a checkpoint of its own.

mod crew;
mod export;
mod lines;
mod lists;
mod objects;
mod publish;
mod runs;
mod table;
mod text;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, SchemaRef};
use crew::Crew;
pub use export::{Exported, export};
pub use publish::{Job, Published, publish};
use tokio::runtime::Handle;

use crate::commit::{CommitError, SideFile};
use crate::message::{Hint, Message};
use crate::plan::{Ids, Plan};
use crate::sink::SinkError;
use crate::source::{Object, SourceError};
use crate::store::{Store, Watch, advice, told};
use lists::List;
pub use objects::{Done, objects_done};

/// Ids in memory, over all threads: those of one thread are sorted together.
const RUN_BYTES_MAX: usize = 64 << 20;

/// Nothing was imported or exported.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Nothing was changed.
    #[error("{}", .0.text())]
    Refused(Message),
    /// A store did not give what it was asked for.
    #[error("{file}: {}", told(cause))]
    Store {
        /// The file or folder.
        file: String,
        /// What the store said.
        #[source]
        cause: object_store::Error,
    },
    /// A file was not published.
    #[error("publish: cannot write or read {file}: {}", told(cause))]
    Publish {
        /// The file or folder.
        file: String,
        /// What the store said.
        #[source]
        cause: object_store::Error,
    },
    /// The checkpoint.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The exported files.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

impl ExchangeError {
    fn refused(what: impl std::fmt::Display, hint: &str) -> ExchangeError {
        ExchangeError::Refused(Message::new(what.to_string()).hint(hint))
    }
}

impl Hint for ExchangeError {
    fn hint(&self) -> Option<String> {
        match self {
            ExchangeError::Refused(message) => message.hint.clone(),
            ExchangeError::Store { cause, .. } => Some(advice(cause, "nothing was changed")),
            ExchangeError::Publish { cause, .. } => {
                Some(advice(cause, "files that are complete are not written again"))
            }
            ExchangeError::Commit(error) => error.hint(),
            ExchangeError::Sink(error) => error.hint(),
        }
    }
}

/// Where ids stand.
#[derive(Clone, Debug)]
pub struct Lists {
    /// Files, folders of Parquet files, globs.
    pub from: Vec<String>,
    /// The names of the id columns there, in the order of the job's; none if they are the same.
    pub columns: Vec<String>,
    /// Objects of the job's own source, all of whose rows were done.
    pub objects: Vec<Object>,
    /// Whether it is the output of a job, where an id may stand many times: Parquet files only.
    pub are_outputs: bool,
}

/// Ids beside the log of a job that has not begun.
#[derive(Debug)]
pub struct Imported {
    /// What a genesis is to name.
    pub files: Vec<SideFile>,
    /// Files that were read.
    pub lists: u64,
    store: Store,
}

impl Imported {
    /// Ids, each once per file.
    pub fn ids(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// Removes the files, which no genesis will ever name.
    pub fn discard(self, runtime: &Handle) {
        runs::remove(&self.store, &self.files, runtime);
    }
}

/// What is read of each list.
struct Wanted {
    /// The id columns as they are called there.
    names: Vec<String>,
    /// The id columns of the job.
    schema: SchemaRef,
}

impl Wanted {
    /// The job's types under the names of the lists.
    fn fields(&self) -> Vec<Field> {
        let pairs = self.names.iter().zip(self.schema.fields());
        pairs.map(|(name, field)| Field::new(name, field.data_type().clone(), true)).collect()
    }

    /// A batch in the job's types, without nulls, under the job's names.
    fn batch(&self, ids: RecordBatch) -> RecordBatch {
        RecordBatch::try_new(Arc::clone(&self.schema), ids.columns().to_vec()).expect("types agreed, nulls refused")
    }
}

/// Takes batches of ids.
type Each<'a> = &'a mut dyn FnMut(RecordBatch) -> Result<(), ExchangeError>;

/// Sees batches of ids, from several threads.
pub type Taken<'a> = &'a (dyn Fn(&RecordBatch) + Sync);

/// Writes the ids of the lists beside the log of the plan's job, which must not have begun. If that fails, nothing is left.
/// `taken` sees each batch of ids, in the job's types.
pub fn import(
    plan: &Plan,
    lists: &Lists,
    watch: &Arc<dyn Watch>,
    runtime: &Handle,
    taken: Taken<'_>,
) -> Result<Imported, ExchangeError> {
    may_begin(plan)?;
    let ids = ids(plan)?;
    let wanted = Wanted { names: names(ids, &lists.columns)?, schema: Arc::clone(&ids.schema) };
    let mut found = runtime.block_on(lists::find(lists, watch))?;
    found.extend(lists::of_objects(plan, &lists.objects)?);
    let (store, bytes_max) = (&plan.checkpoint, RUN_BYTES_MAX);
    let crew = Crew { lists: &found, wanted: &wanted, store, bytes_max, runtime, taken };
    let files = crew.read(plan.run.readers)?;
    Ok(Imported { files, lists: found.len() as u64, store: plan.checkpoint.clone() })
}

/// Imports are part of a genesis: a job that has begun has asked its rows already.
fn may_begin(plan: &Plan) -> Result<(), ExchangeError> {
    let file = plan.file.display();
    if let Some(root) = plan.root.as_ref().filter(|root| root.genesis.has_imports()) {
        return Err(ExchangeError::refused(
            format!("{} holds job {} already, which began with an import", plan.checkpoint.url(), root.genesis.job),
            &format!(
                "go on with `wasmpipe run {file}`; for another import name another folder under [checkpoint], and an empty sink"
            ),
        ));
    }
    if let Some(root) = &plan.root {
        return Err(ExchangeError::refused(
            format!(
                "{} holds job {} already; what is done is imported before a job begins",
                plan.checkpoint.url(),
                root.genesis.job
            ),
            "name another folder under [checkpoint], and an empty sink",
        ));
    }
    if let Some(manifest) = &plan.finished_before {
        return Err(ExchangeError::refused(
            format!("{} holds all output of this job already ({})", plan.sink.store.url(), manifest.job),
            "name another folder under [checkpoint], and an empty sink",
        ));
    }
    if !plan.is_durable {
        return Err(ExchangeError::refused(
            format!("there is no [checkpoint] in {file} that could keep what is imported"),
            "add [checkpoint] with a `path`",
        ));
    }
    Ok(())
}

fn ids(plan: &Plan) -> Result<&Ids, ExchangeError> {
    plan.ids.as_ref().ok_or_else(|| {
        let file = plan.file.display();
        ExchangeError::refused(
            format!("rows of {file} are known by position, so imported ids say nothing about them"),
            "name the id columns with `id` under [source]; or import whole objects with --objects or --existing-shards",
        )
    })
}

fn names(ids: &Ids, columns: &[String]) -> Result<Vec<String>, ExchangeError> {
    let own: Vec<String> = ids.schema.fields().iter().map(|field| field.name().clone()).collect();
    match columns.len() {
        0 => Ok(own),
        count if count == own.len() => Ok(columns.to_vec()),
        count => Err(ExchangeError::refused(
            format!("{count} times --column, but the job has {} id column(s): {}", own.len(), own.join(", ")),
            "give --column once for each id column, in this order; or leave it out if the names are the same",
        )),
    }
}

/// A row without an id.
fn null(place: impl std::fmt::Display, column: &str) -> ExchangeError {
    ExchangeError::refused(
        format!("{place}: `{column}` is null, which is no id"),
        "nothing was imported; take the row out, or give it an id",
    )
}

fn from_source(list: &List, error: SourceError) -> ExchangeError {
    match error {
        SourceError::Store { cause, .. } => ExchangeError::Store { file: list.name().into(), cause },
        SourceError::Changed { .. } => ExchangeError::refused(
            format!("{} changed or vanished while it was read", list.name()),
            "nothing was imported; run the same command again",
        ),
        SourceError::Differs { message, .. } => ExchangeError::refused(
            format!("{}: {message}", list.name()),
            "nothing was imported; name the columns with --column, and files whose types fit",
        ),
        SourceError::Bad { message, hint, .. } => {
            ExchangeError::refused(format!("{}: {message}", list.name()), &format!("nothing was imported; {hint}"))
        }
    }
}
