//! `wasmpipe run` and `wasmpipe plan`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::compile::compiler;
use super::progress::Display;
use super::text::{bytes, counted, line, number, seconds};
use super::{
    FAILED, FENCED, FINISHED, FINISHED_WITH_FAILED_ROWS, INTERRUPTED, REFUSED, args, cache_folder, cache_ids_bytes_max,
    fresh, print_error, screen,
};
use crate::config;
use crate::message::Message;
use crate::observe::{Kept, Outcome, Progress, Summary};
use crate::pipeline::{self, Control};
use crate::plan::{self, LaneSet, OnError, Options, Plan, PlanError, Stage};
use crate::sink::{Layout, OutputKind};
use crate::store::{Environment, Unwatched};

pub(super) fn run(options: &args::Run) -> u8 {
    let chosen = Chosen {
        accept_change: options.accept_change,
        take_over: options.take_over,
        relocate: options.relocate,
        retry_failed: options.retry_failed,
        fresh: options.fresh,
        completes_deletion: true,
        lanes: options.lanes.lane.clone().unwrap_or_default(),
    };
    let (control, phase) = (Control::default(), Arc::new(AtomicU8::new(PLANNING)));
    stop_on_signals(&control, &phase);
    let plan = match make(&options.pipeline, chosen) {
        Ok(plan) => plan,
        Err(code) => return code,
    };
    if let Some(given_up) = &plan.given_up
        && let Err(code) = fresh::ask(&plan, given_up, options.yes)
    {
        return code;
    }
    phase.store(if plan.is_durable { DURABLE } else { FLEETING }, Ordering::SeqCst);
    if !plan.accepted.is_empty() {
        say!(
            "note: these changes are accepted; rows that are done keep their results:\n  {}",
            plan.accepted.join("\n  ")
        );
    }
    if !plan.is_durable {
        say!(
            "note: there is no [checkpoint] in {}: a run that stops before its end starts over, with another sink, which is empty",
            plan.file.display()
        );
    }
    let is_durable = plan.is_durable;
    let letters = where_letters_are(&plan);
    let progress = Arc::new(Progress::default());
    let mut display = Display::new(options.quiet);
    if let Some(manifest) = &plan.finished_before {
        say!(
            "note: the checkpoint is gone, but the sink holds all output of this job ({}), which is finished; to do it again, \
             choose an empty sink",
            manifest.job
        );
    }
    let (summary, error) = pipeline::run(plan, &control, &progress, |progress| display.report(progress));
    drop(display);
    if let Some(error) = &error {
        print_error(error);
    }
    if is_refusal(error.as_ref()) {
        return REFUSED;
    }
    print_summary(&summary, is_durable);
    if let Some(note) = kept(&summary.kept) {
        say!("note: {note}");
    }
    if summary.rows_dead_lettered_in_all > 0 {
        say!("note: {} {letters}", counted(summary.rows_dead_lettered_in_all, "dead letter"));
    }
    if let Some(file) = &options.summary
        && let Err(error) = write_summary(file, &summary)
    {
        let message = format!("cannot write the summary to {}: {error}", file.display());
        say!("{}", Message::new(message).hint("the job itself ended as said above; name a file that can be written"));
        return FAILED;
    }
    match summary.outcome {
        Outcome::Finished => FINISHED,
        Outcome::FinishedWithFailedRows => FINISHED_WITH_FAILED_ROWS,
        Outcome::Interrupted => INTERRUPTED,
        Outcome::Failed => FAILED,
        Outcome::Fenced => FENCED,
    }
}

fn is_refusal(error: Option<&pipeline::RunError>) -> bool {
    matches!(error, Some(pipeline::RunError::Commit(error)) if error.is_refusal())
}

/// What follows "3 dead letters".
fn where_letters_are(plan: &Plan) -> String {
    match plan.is_durable {
        true => format!("in all: `wasmpipe dead-letters show {}` shows them", plan.file.display()),
        false => format!("in {}/{}", plan.sink.store.url(), OutputKind::DeadLetters.folder()),
    }
}

/// How a job without a checkpoint goes on.
const OVER: &str = "without [checkpoint] nothing goes on: start over with another sink, which is empty";

/// The plan is being made: nothing is written yet.
const PLANNING: u8 = 0;
/// A job with a checkpoint is run.
const DURABLE: u8 = 1;
/// A job without one is run.
const FLEETING: u8 = 2;

/// First signal: no new work. Second: now. Before there is a plan the first is enough: functions that are compiled cannot be
/// asked to stop, and nothing has to be left in order.
fn stop_on_signals(control: &Control, phase: &Arc<AtomicU8>) {
    let (control, phase) = (control.clone(), Arc::clone(phase));
    // Whoever asks the run to stop from elsewhere has sent no signal.
    let signalled = AtomicBool::new(false);
    let handler = move || {
        control.stop();
        let (phase, is_second) = (phase.load(Ordering::SeqCst), signalled.swap(true, Ordering::SeqCst));
        match (phase, is_second) {
            (PLANNING, _) => say!(
                "{}",
                Message::new("stopped while it was planned, before any row was read")
                    .hint("nothing is lost; run the same command again")
            ),
            (_, false) => return say!("stopping: finishing what is in flight; once more to stop now"),
            (FLEETING, true) => stopped_now(OVER),
            (_, true) => stopped_now("the same command goes on where the last commit was"),
        }
        std::process::exit(i32::from(INTERRUPTED));
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        tracing::warn!(%error, "signals end the process at once; the next run goes on where this one was");
    }
}

fn stopped_now(next: &str) {
    screen::close();
    say!("stopped; {next}");
}

/// What the command line says about a job.
#[derive(Default)]
pub(super) struct Chosen {
    pub(super) accept_change: bool,
    pub(super) take_over: bool,
    pub(super) relocate: bool,
    pub(super) retry_failed: bool,
    pub(super) fresh: bool,
    pub(super) completes_deletion: bool,
    pub(super) lanes: LaneSet,
}

pub(super) fn make(pipeline: &Path, chosen: Chosen) -> Result<Plan, u8> {
    let config = config::load(pipeline).map_err(|problems| {
        say!("{problems}");
        REFUSED
    })?;
    let cache = cache_folder();
    let cache_ids_bytes_max = cache_ids_bytes_max().map_err(|refused| {
        print_error(&refused);
        REFUSED
    })?;
    let compiler = compiler().map_err(|refused| {
        print_error(&refused);
        REFUSED
    })?;
    let engine = pipeline::engine_with(&cache, compiler).map_err(|error| {
        print_error(&error);
        FAILED
    })?;
    let Chosen { accept_change, take_over, relocate, retry_failed, fresh, completes_deletion, lanes } = chosen;
    let options = Options {
        accept_change,
        take_over,
        relocate,
        retry_failed,
        fresh,
        completes_deletion,
        lanes,
        engine,
        cache,
        cache_ids_bytes_max,
        watch: Arc::new(Unwatched),
        environment: Environment::of_process(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime without threads starts");
    let plan = runtime.block_on(plan::make(&config, &options)).map_err(refuse)?;
    for line in plan.source.passed.lines() {
        say!("note: in {}, {line}", plan.source.store.url());
    }
    plan.notes.iter().for_each(|note| say!("{}", note.warning()));
    Ok(plan)
}

fn refuse(error: PlanError) -> u8 {
    match error {
        PlanError::Problems(problems) => {
            say!("{problems}");
            REFUSED
        }
        refused @ PlanError::Refused(_) => {
            print_error(&refused);
            REFUSED
        }
        other => {
            print_error(&other);
            FAILED
        }
    }
}

/// Which rows a change did not reach, and how they are done anew.
fn kept(kept: &Kept) -> Option<String> {
    let named = kept.objects_kept_named.join(", ");
    let more = if kept.objects_kept > kept.objects_kept_named.len() as u64 { ", ..." } else { "" };
    let (rows, objects) = (counted(kept.rows_kept, "row"), counted(kept.objects_kept, "object"));
    (kept.rows_kept > 0).then(|| {
        format!(
            "{rows} of {objects} ({named}{more}) were done before the job was changed, and keep these results; to do them \
             anew as well, begin a new job with another checkpoint and an empty sink"
        )
    })
}

fn write_summary(file: &Path, summary: &Summary) -> std::io::Result<()> {
    std::fs::write(file, serde_json::to_vec_pretty(summary)?)
}

fn print_summary(summary: &Summary, is_durable: bool) {
    let outcome = match summary.outcome {
        Outcome::Finished if summary.run.is_none() => "finished before; nothing to do",
        Outcome::Finished => "finished",
        Outcome::FinishedWithFailedRows if summary.run.is_none() => "finished before, with failed rows; nothing to do",
        Outcome::FinishedWithFailedRows => "finished with failed rows",
        Outcome::Interrupted if is_durable => "interrupted; the same command goes on from here",
        Outcome::Interrupted => &format!("interrupted; {OVER}"),
        Outcome::Failed if is_durable => "failed; what is committed stays, the hint above says how the rest goes on",
        Outcome::Failed => &format!("failed; {OVER}"),
        Outcome::Fenced => "fenced: another run took over",
    };
    out!("{outcome}");
    if summary.job_finished == Some(false) {
        out!("of the lanes of this run; the job is not finished, other lanes are open");
    }
    if summary.run.is_none() {
        let (known, failed) = (summary.rows_known, summary.rows_failed_in_all);
        let dead = summary.rows_dead_lettered_in_all;
        let rows = [
            ("rows committed", summary.rows_skipped),
            ("of these done", summary.rows_skipped.saturating_sub(known + failed + dead)),
            ("of these known by id", known),
            ("of these failed", failed),
            ("of these dead-lettered", dead),
        ];
        for (name, value) in rows {
            out!("  {name:<28}{:>16}", number(value));
        }
        return;
    }
    let mut rows = vec![
        ("rows skipped (done before)", summary.rows_skipped),
        ("rows read", summary.rows_read),
        ("rows known by id", summary.rows_known),
        ("rows dropped", summary.rows_dropped),
        ("rows failed", summary.rows_failed),
        ("rows dead-lettered", summary.rows_dead_lettered),
        ("rows committed", summary.rows_committed),
        ("output rows written", summary.rows_written),
        ("commits", summary.commits),
    ];
    if summary.isolate_calls > 0 {
        rows.push(("calls to tell rows apart", summary.isolate_calls));
    }
    if summary.log_lines_suppressed > 0 {
        rows.push(("log lines suppressed", summary.log_lines_suppressed));
    }
    if summary.rows_failed_in_all != summary.rows_failed {
        rows.push(("rows failed, all runs", summary.rows_failed_in_all));
    }
    if summary.kept.rows_kept > 0 {
        rows.push(("rows kept from before", summary.kept.rows_kept));
    }
    if summary.rows_dead_lettered_in_all != summary.rows_dead_lettered {
        rows.push(("rows dead-lettered, all runs", summary.rows_dead_lettered_in_all));
    }
    for (name, value) in rows {
        out!("  {name:<28}{:>16}", number(value));
    }
    let opened = format!("{} of {}", number(summary.objects_opened), number(summary.objects));
    out!("  {:<28}{opened:>16}", "objects opened");
    out!("  {:<28}{:>16}", "decoded", bytes(summary.bytes_read));
    out!("  {:<28}{:>16}", "sink files", bytes(summary.bytes_written));
    for (name, count) in &summary.guest_counts {
        out!("  {name:<28}{:>16}", number(*count));
    }
    out!("  {:<28}{:>16}", "time", seconds(summary.seconds));
    out!(
        "  thread seconds: read {:.1}, guest {:.1}, boundary {:.1}, write {:.1}, commit {:.1}",
        summary.seconds_read,
        summary.seconds_guest,
        summary.seconds_boundary,
        summary.seconds_write,
        summary.seconds_commit
    );
}

pub(super) fn plan(options: &args::Plan) -> u8 {
    let plan = match make(&options.pipeline, Chosen { accept_change: options.accept_change, ..Chosen::default() }) {
        Ok(plan) => plan,
        Err(code) => return code,
    };
    let size: u64 = plan.source.objects.iter().map(|object| object.size).sum();
    out!("source      {}", plan.source.store.url());
    out!("            {}, {}", counted(plan.source.objects.len() as u64, "object"), bytes(size));
    out!("            reads {}", columns(&plan.source.columns.schema));
    match &plan.ids {
        Some(ids) => out!("            rows are known by {}", columns(&ids.schema)),
        None => out!("            rows are known by position"),
    }
    for stage in &plan.stages {
        out!("{}", stage.label);
        out!("            {}", stage.spec.component.path().display());
        if let Some(doc) = documentation(stage) {
            out!("            {}", line(doc));
        }
        out!("            needs {}", columns(&stage.binding.needs));
        out!("            adds {}", columns(&stage.binding.adds));
        let on_error = match stage.on_error {
            OnError::Fail => "end the run",
            OnError::Skip => "are left out",
            OnError::DeadLetter => "become dead letters",
        };
        out!("            rows that fail {on_error}");
    }
    out!("sink        {}", plan.sink.store.url());
    out!("            writes {}", columns(&plan.sink.results().schema));
    if plan.sink.results().layout == Layout::Mirror {
        out!("            what comes of an object lies in a folder of its name");
    }
    for output in plan.sink.outputs.iter().filter(|output| output.kind != OutputKind::Results) {
        out!("            {} in {}", output.kind.name(), output.kind.folder());
        out!("            of columns {}", columns(&output.schema));
    }
    match (&plan.root, plan.is_durable) {
        (_, false) => out!("checkpoint  none: a run that stops before its end cannot be resumed"),
        (None, true) => match &plan.finished_before {
            Some(manifest) => out!("checkpoint  {}, gone: job {} is finished", plan.checkpoint.url(), manifest.job),
            None => out!("checkpoint  {}, new", plan.checkpoint.url()),
        },
        (Some(root), true) => out!("checkpoint  {}, job {}", plan.checkpoint.url(), root.genesis.job),
    }
    out!("run         {}, {}", counted(plan.run.workers as u64, "worker"), counted(plan.run.readers as u64, "reader"));
    FINISHED
}

/// The first line of what the function's author says about it.
fn documentation(stage: &Stage) -> Option<&str> {
    let functions = stage.spec.component.functions();
    let function = functions.iter().find(|function| function.name == stage.spec.function)?;
    function.doc.lines().next().filter(|line| !line.trim().is_empty())
}

fn columns(schema: &arrow::datatypes::Schema) -> String {
    let fields = schema.fields().iter().map(|field| line(&format!("{} {}", field.name(), field.data_type())));
    let text = fields.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "no column".into() } else { text }
}
