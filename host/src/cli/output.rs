//! `wasmpipe output`: the sink files that count at this moment, whether they are what the log says, and what they are joined to.

use serde::Serialize;

use super::look::{self, Looked, Output};
use super::text::{bytes, counted, number};
use super::{FAILED, FINISHED, args, print_error};
use crate::commit::{DataCheck, Depth, FileEntry, OutputCheck, Place, check_output, gone_on_to};
use crate::exchange::{self, Published};
use crate::message::{Message, table};

/// Everything that `list` prints.
#[derive(Serialize)]
struct Listing<'a> {
    job: &'a str,
    /// What paths are relative to.
    sink: &'a str,
    rows: u64,
    bytes: u64,
    files: Vec<&'a FileEntry>,
}

pub(super) fn list(options: &args::OutputList) -> u8 {
    let runtime = look::runtime();
    let output = match look::output(&options.checkpoint, &runtime) {
        Ok(output) => output,
        Err(code) => return code,
    };
    if let Output::Log(looked) = &output
        && let Looked { store, view } = &**looked
        && let Ok(sink) = look::open_sink(&options.checkpoint, &view.root.places.sink)
    {
        // Without the sink, what counts is still what the log says.
        let elsewhere = runtime.block_on(gone_on_to(&sink, &view.root.genesis.job, &Place::of(store)));
        elsewhere.ok().flatten().iter().for_each(|whose| note_elsewhere(whose));
    }
    let (job, sink, files): (&str, &str, Vec<&FileEntry>) = match &output {
        Output::Log(looked) => {
            let root = &looked.view.root;
            (&root.genesis.job, &root.places.sink, looked.view.results().collect())
        }
        Output::Manifest { sink, manifest } => (&manifest.job, sink.url(), manifest.files.iter().collect()),
    };
    let (rows, size) = (files.iter().map(|file| file.rows).sum(), files.iter().map(|file| file.bytes).sum());
    let listing = Listing { job, sink, rows, bytes: size, files };
    if options.json {
        out!("{}", super::json(&listing));
    } else {
        print(&listing);
    }
    FINISHED
}

fn print(listing: &Listing<'_>) {
    let header = ["path", "rows", "bytes"].map(str::to_owned).to_vec();
    let row = |file: &&FileEntry| vec![file.path.clone(), file.rows.to_string(), file.bytes.to_string()];
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(listing.files.iter().map(row)).collect();
    for line in table(&rows) {
        out!("{line}");
    }
    let files = counted(listing.files.len() as u64, "file");
    say!("{} in {files}, {}, in {}", counted(listing.rows, "row"), bytes(listing.bytes), listing.sink);
}

/// Everything that `verify` prints.
#[derive(Serialize)]
struct Verdict<'a> {
    job: &'a str,
    sink: &'a str,
    #[serde(flatten)]
    check: OutputCheck,
}

pub(super) fn verify(options: &args::OutputVerify) -> u8 {
    let runtime = look::runtime();
    let Looked { store, view } = match look::checkpoint(&options.checkpoint, &runtime) {
        Ok(looked) => looked,
        Err(code) => return code,
    };
    let (genesis, places) = (&view.root.genesis, &view.root.places);
    let sink = match look::open_sink(&options.checkpoint, &places.sink) {
        Ok(sink) => sink,
        Err(code) => return code,
    };
    let depth = if options.data { Depth::Data } else { Depth::Footers };
    let check = match runtime.block_on(check_output(&view, &sink, depth)) {
        Ok(check) => check,
        Err(error) => {
            print_error(&error);
            return FAILED;
        }
    };
    let place = Place::of(&store);
    let elsewhere = match runtime.block_on(gone_on_to(&sink, &genesis.job, &place)) {
        Ok(elsewhere) => elsewhere,
        Err(error) => {
            print_error(&error);
            return FAILED;
        }
    };
    let is_right = check.wrong.is_empty();
    let orphan = match (&elsewhere, view.root.relocated) {
        (Some(_), _) => "it does not count here",
        (None, 0) => "it does not count; the next run removes it if its writer is dead",
        (None, _) => "it does not count; what was written before the job was moved is never removed",
    };
    let verdict = Verdict { job: &genesis.job, sink: sink.url(), check };
    if options.json {
        out!("{}", super::json(&verdict));
    } else {
        print_verdict(&verdict, orphan);
    }
    elsewhere.iter().for_each(|whose| note_elsewhere(whose));
    if is_right {
        return FINISHED;
    }
    say!("{}", complaint(&verdict, store.url().trim_start_matches("file://")));
    FAILED
}

pub(super) fn publish(options: &args::OutputPublish) -> u8 {
    let runtime = look::runtime();
    let Looked { store, view } = match look::checkpoint(&options.checkpoint, &runtime) {
        Ok(looked) => looked,
        Err(code) => return code,
    };
    let opened = look::open_sink(&options.checkpoint, &view.root.places.sink);
    let (sink, to) = match opened.and_then(|sink| Ok((sink, look::open("folder", &options.to)?))) {
        Ok(opened) => opened,
        Err(code) => return code,
    };
    match runtime.block_on(exchange::publish(
        exchange::Job { view: &view, checkpoint: &store, sink: &sink },
        &to,
        &options.name,
    )) {
        Ok(published) => {
            print_published(&published, options);
            FINISHED
        }
        Err(error) => super::exchange::failed(&error),
    }
}

fn print_published(published: &Published, options: &args::OutputPublish) {
    if options.json {
        out!("{}", super::json(published));
        return;
    }
    let Published { files, written, rows, bytes: size, elsewhere } = *published;
    out!("{} in {}, {}: {}", counted(rows, "row"), counted(files, "file"), bytes(size), options.to);
    if elsewhere > 0 {
        say!("{} done elsewhere before the job began: their results are there", counted(elsewhere, "object"));
    }
    if written < files {
        say!(
            "{} of them {} complete before",
            number(files - written),
            if files - written == 1 { "was" } else { "were" }
        );
    }
}

fn note_elsewhere(whose: &str) {
    say!(
        "note: the job has gone on elsewhere since, or is seen here under another name: {whose}; what counts is what that one says"
    );
}

fn print_verdict(verdict: &Verdict<'_>, of_orphan: &str) {
    let Verdict { sink, check, .. } = verdict;
    let looked_at = check.files + check.data.map_or(0, |data| data.dead_letter_files);
    let right = looked_at - check.wrong.len() as u64;
    out!("sink      {sink}");
    out!("named     {}, {}, {}", counted(check.files, "file"), counted(check.rows, "row"), bytes(check.bytes));
    if let Some(data) = &check.data {
        print_data(data);
    }
    out!("right     {}", counted(right, "file"));
    for wrong in &check.wrong {
        out!("wrong     lane {} entry {}: {}: {}", wrong.lane, wrong.number, wrong.path, wrong.what);
    }
    for orphan in &check.orphans {
        out!("orphan    {}, {}: {of_orphan}", orphan.path, bytes(orphan.bytes));
    }
}

fn print_data(data: &DataCheck) {
    out!("letters   {} of dead letters", counted(data.dead_letter_files, "file"));
    let compared = counted(data.files_compared, "file");
    out!("compared  {compared}, {}, byte by byte with the digests in the log", bytes(data.bytes_compared));
    if data.files_without_digest > 0 {
        let files = counted(data.files_without_digest, "file");
        out!(
            "without   {files} have no digest in the log, which an earlier version wrote: size and footer were compared"
        );
    }
}

fn complaint(verdict: &Verdict<'_>, checkpoint: &str) -> Message {
    let wrong = verdict.check.wrong.len() as u64;
    let what = format!(
        "{} of {} not what the log says",
        counted(wrong, "file"),
        if wrong == 1 { "the output is" } else { "the output are" }
    );
    Message::new(what).hint(format!(
        "put them back from a copy; or move them away, run `wasmpipe checkpoint verify --repair {checkpoint}`, then run the job: it redoes \
         their rows"
    ))
}
