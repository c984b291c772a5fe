//! `wasmpipe checkpoint import` and `export`: a job that another system began goes on here, and one of ours goes on there.

use std::path::Path;

use serde::Serialize;
use tokio::runtime::{Handle, Runtime};

use super::look::{self, Looked};
use super::text::{counted, number};
use super::{FAILED, FINISHED, REFUSED, args, print_error, run};
use crate::commit::SideFile;
use crate::exchange::{self, Done, ExchangeError, Exported, Lists};
use crate::message::Message;
use crate::pipeline::{self, Imports, RunError};
use crate::plan::Plan;
use crate::store::Object;

/// What an import came to.
#[derive(Serialize)]
struct Begun {
    job: String,
    checkpoint: String,
    /// Ids; one that stands in several files counts as often.
    ids: u64,
    /// Files that were read.
    files_read: u64,
    files: Vec<SideFile>,
}

/// The same of whole objects.
#[derive(Serialize)]
struct BegunWithObjects {
    job: String,
    checkpoint: String,
    /// Objects that were done.
    objects_done: u64,
    /// Objects of the source.
    objects: u64,
}

pub(super) fn import(options: &args::Import) -> u8 {
    let plan = match run::make(&options.pipeline, run::Chosen::default()) {
        Ok(plan) => plan,
        Err(code) => return code,
    };
    let runtime = look::runtime();
    let objects = match objects(options, &plan, runtime.handle()) {
        Ok(objects) => objects,
        Err(error) => return failed(&error),
    };
    match objects {
        Some(objects) if plan.ids.is_none() => import_objects(options, &plan, objects, &runtime),
        objects => import_ids(options, &plan, objects.unwrap_or_default(), &runtime),
    }
}

/// Whole objects that were done, if such are meant.
fn objects(options: &args::Import, plan: &Plan, runtime: &Handle) -> Result<Option<Vec<Object>>, ExchangeError> {
    let listed = options.objects.as_deref().map(names).transpose()?;
    let done = match (&listed, &options.existing_shards) {
        (Some(names), _) => Done::Listed(names),
        (None, Some(folder)) => Done::Shards(folder),
        (None, None) => return Ok(None),
    };
    exchange::objects_done(plan, &done, &look::watch(), runtime).map(Some)
}

/// One a line.
fn names(list: &Path) -> Result<Vec<String>, ExchangeError> {
    let text = std::fs::read_to_string(list).map_err(|error| {
        let message = Message::new(format!("{} cannot be read: {error}", list.display()));
        ExchangeError::Refused(
            message.hint("name a text file with the name of an object on each line, relative to the source"),
        )
    })?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// A job that knows rows by position knows whole objects.
fn import_objects(options: &args::Import, plan: &Plan, objects: Vec<Object>, runtime: &Runtime) -> u8 {
    let objects_done = objects.len() as u64;
    let imports = Imports { objects, ..Imports::default() };
    let root = match runtime.block_on(pipeline::begin(plan, imports)) {
        Ok(root) => root,
        Err(error) => {
            print_error(&error);
            return if matches!(&error, RunError::Commit(error) if error.is_refusal()) { REFUSED } else { FAILED };
        }
    };
    let (checkpoint, objects) = (plan.checkpoint.url().to_owned(), plan.source.objects.len() as u64);
    let begun = BegunWithObjects { job: root.genesis.job, checkpoint, objects_done, objects };
    if options.json {
        out!("{}", super::json(&begun));
        return FINISHED;
    }
    out!(
        "job {} begun; {} of {} are done elsewhere, and will be known, not run",
        begun.job,
        number(objects_done),
        counted(objects, "object")
    );
    if objects_done == 0 {
        say!("no object was done: every row will be run");
    }
    print_next(options);
    FINISHED
}

fn import_ids(options: &args::Import, plan: &Plan, objects: Vec<Object>, runtime: &Runtime) -> u8 {
    let ids = pipeline::ImportedIds::new(plan);
    let taken = |batch: &_| ids.add(batch);
    let imported = match exchange::import(plan, &lists(options, objects), &look::watch(), runtime.handle(), &taken) {
        Ok(imported) => imported,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(pipeline::begin(plan, Imports { ids: imported.files.clone(), ..Imports::default() })) {
        Ok(root) => {
            ids.keep(&root);
            let (checkpoint, ids) = (plan.checkpoint.url().to_owned(), imported.ids());
            let (files_read, files) = (imported.lists, imported.files);
            print_begun(&Begun { job: root.genesis.job, checkpoint, ids, files_read, files }, options);
            FINISHED
        }
        Err(error) => {
            print_error(&error);
            // Somebody else's genesis names other files; after any other error ours may have landed.
            if !matches!(&error, RunError::Commit(error) if error.is_refusal()) {
                return FAILED;
            }
            imported.discard(runtime.handle());
            REFUSED
        }
    }
}

fn lists(options: &args::Import, objects: Vec<Object>) -> Lists {
    let from = options.from_output.iter().chain(&options.from).cloned().collect();
    Lists { from, columns: options.column.clone(), objects, are_outputs: options.from_output.is_some() }
}

fn print_begun(begun: &Begun, options: &args::Import) {
    if options.json {
        out!("{}", super::json(begun));
        return;
    }
    let (ids, files) = (counted(begun.ids, "id"), counted(begun.files_read, "file"));
    out!("job {} begun with {ids} from {files}; rows that have one of them will be known, not run", begun.job);
    if begun.ids == 0 {
        say!("there was no id: every row will be run");
    }
    print_next(options);
}

fn print_next(options: &args::Import) {
    say!("go on with `wasmpipe run {}`", options.pipeline.display());
}

pub(super) fn export(options: &args::Export) -> u8 {
    let runtime = look::runtime();
    let Looked { store, view } = match look::checkpoint(&options.checkpoint, &runtime) {
        Ok(looked) => looked,
        Err(code) => return code,
    };
    let to = match look::open("folder", &options.to) {
        Ok(to) => to,
        Err(code) => return code,
    };
    let exported = match exchange::export(&view, &store, &to, runtime.handle()) {
        Ok(exported) => exported,
        Err(error) => return failed(&error),
    };
    let columns: Vec<String> = view.root.genesis.ids.into_iter().flatten().map(|column| column.name).collect();
    print_exported(options, &exported, &columns);
    if view.lanes.iter().any(|lane| lane.state.closed.is_none()) {
        say!(
            "note: the job's last run is at work or was killed: what it commits from here on is not in the export, and only \
             files that `wasmpipe output list` names count as its output"
        );
    }
    if columns.len() > 1 {
        say!("note: Ray Data knows rows by one column, these ids have {}", number(columns.len() as u64));
    }
    FINISHED
}

fn print_exported(options: &args::Export, exported: &Exported, columns: &[String]) {
    if options.json {
        let json = serde_json::json!({
            "ids": exported.ids, "files": exported.files, "columns": columns, "folder": options.to,
        });
        out!("{}", super::json(&json));
        return;
    }
    let (ids, files) = (counted(exported.ids, "id"), counted(exported.files, "file"));
    out!("{ids} in {files}, {}: {}", columns.join(", "), options.to);
}

pub(super) fn failed(error: &ExchangeError) -> u8 {
    print_error(error);
    match error {
        ExchangeError::Refused(_) => REFUSED,
        ExchangeError::Commit(error) if error.is_refusal() => REFUSED,
        _ => FAILED,
    }
}
