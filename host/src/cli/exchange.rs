//! `wasmpipe checkpoint import` and `export`: a job that another system began goes on here, and one of ours goes on there.

use serde::Serialize;

use super::look::{self, Looked};
use super::text::{counted, number};
use super::{FAILED, FINISHED, REFUSED, args, print_error, run};
use crate::commit::SideFile;
use crate::exchange::{self, ExchangeError, Exported, Lists};
use crate::pipeline::{self, RunError};

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

pub(super) fn import(options: &args::Import) -> u8 {
    let plan = match run::make(&options.pipeline, run::Chosen::default()) {
        Ok(plan) => plan,
        Err(code) => return code,
    };
    let runtime = look::runtime();
    let ids = pipeline::ImportedIds::new(&plan);
    let taken = |batch: &_| ids.add(batch);
    let imported = match exchange::import(&plan, &lists(options), &look::watch(), runtime.handle(), &taken) {
        Ok(imported) => imported,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(pipeline::begin(&plan, imported.files.clone())) {
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

fn lists(options: &args::Import) -> Lists {
    let from = options.from_output.iter().chain(&options.from).cloned().collect();
    Lists { from, columns: options.column.clone(), are_outputs: options.from_output.is_some() }
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
