//! `wasmpipe checkpoint verify`, `compact`, `stop` and `delete`: what can be done to a checkpoint without running its job.

use std::collections::BTreeSet;

use serde::Serialize;

use super::look::{self, Looked};
use super::text::{self, counted, number};
use super::{FAILED, FINISHED, REFUSED, args, print_error};
use crate::commit::{
    self, Close, CommitError, Compacted, FORMAT, Known, Lane, LaneLog, LaneState, Root, Verified, WITHOUT_COPY, Writer,
};
use crate::message::Message;
use crate::plan::LaneSet;
use crate::sink::OutputKind;
use crate::store::Store;

pub(super) fn verify(options: &args::Verify) -> u8 {
    let runtime = look::runtime();
    let found = match look::checkpoint_root(&options.path, &runtime) {
        Ok(found) => found,
        Err(code) => return code,
    };
    let sink = match look::open_sink(&options.path, &found.root.places.sink) {
        Ok(sink) => sink,
        Err(code) => return code,
    };
    let verified = runtime.block_on(async {
        let verified = commit::verify(&found.store, &found.root, &sink).await?;
        if !options.repair || !verified.is_repairable() {
            return Ok(verified);
        }
        commit::refuse_to_give_up_all(&verified, &sink)?;
        if !options.take_over {
            refuse_if_alive(&found, &LaneSet::All).await?;
        }
        commit::repair(&found.store, &found.root, &sink).await
    });
    let verified = match verified {
        Ok(verified) => verified,
        Err(error) => return ended(&error),
    };
    match options.json {
        true => out!("{}", super::json(&verified)),
        false => print(&verified, sink.url()),
    }
    verdict(&verified, options)
}

fn print(verified: &Verified, sink: &str) {
    let files = [
        counted(verified.entries, "entry"),
        counted(verified.groups, "group"),
        counted(verified.side_files, "side file"),
        counted(verified.files, "sink file"),
    ];
    out!("looked at {} in {sink}", files.join(", "));
    for finding in &verified.findings {
        out!("lane {} entry {}: {}: {}", finding.lane, finding.number, finding.name, finding.message);
    }
    verified.left.values().chain(&verified.beyond_repair).for_each(|finding| out!("{finding}"));
}

fn verdict(verified: &Verified, options: &args::Verify) -> u8 {
    let groups: BTreeSet<(u32, u64)> = verified.findings.iter().map(|found| (found.lane, found.number)).collect();
    if !verified.beyond_repair.is_empty() {
        let mended = if options.repair && !groups.is_empty() { "the rest was mended" } else { "nothing was changed" };
        let message = Message::new(format!("not all of this can be repaired; {mended}"));
        say!("{}", message.hint(format!("do what is said above; where nothing is said, {WITHOUT_COPY}")));
        return FAILED;
    }
    if !verified.is_repairable() {
        return FINISHED;
    }
    if groups.is_empty() {
        return left(options);
    }
    let groups = counted(groups.len() as u64, "entry");
    if options.repair {
        say!("{groups} given up: the rows of these groups are not done any more; the next run does them");
        return FINISHED;
    }
    let hint = "put the files back from a copy; or give up these rows with --repair: the next run does them again";
    say!("{}", Message::new(format!("{groups} cannot be relied on")).hint(hint));
    FAILED
}

/// An earlier repair has given up the opens of writers, and did not come to remove their files.
fn left(options: &args::Verify) -> u8 {
    if options.repair {
        say!("removed what writers left whose entries were given up before");
        return FINISHED;
    }
    let message = Message::new("a repair was not completed: files are left of writers whose entries it gave up");
    say!("{}", message.hint("let --repair remove them"));
    FAILED
}

/// Every lane of the checkpoint that somebody is at work on stops this.
async fn refuse_if_alive(found: &look::Found, lanes: &LaneSet) -> Result<(), CommitError> {
    let chosen = lanes.choose(found.root.genesis.lanes).map_err(CommitError::Refused)?;
    let mut states: Vec<LaneState> = Vec::new();
    for lane in chosen {
        states.push(commit::last_open(&found.store, &found.root, lane).await?);
    }
    commit::refuse_if_alive(&found.store, &states, &Writer::new()).await.map(drop)
}

fn ended(error: &CommitError) -> u8 {
    print_error(error);
    if error.is_refusal() { REFUSED } else { FAILED }
}

/// What was compacted.
#[derive(Serialize)]
struct LaneCompacted {
    lane: u32,
    #[serde(flatten)]
    compacted: Compacted,
}

pub(super) fn compact(options: &args::Compact) -> u8 {
    let runtime = look::runtime();
    let found = match look::checkpoint_root(&options.path, &runtime) {
        Ok(found) => found,
        Err(code) => return code,
    };
    match runtime.block_on(compact_lanes(&found, options)) {
        Ok(lanes) if options.json => {
            out!("{}", super::json(&lanes));
            FINISHED
        }
        Ok(lanes) => {
            for LaneCompacted { lane, compacted } in lanes {
                let entries = counted(compacted.entries, "entry");
                out!("lane {lane}: {entries} in one, {} files deleted", number(compacted.deleted));
            }
            FINISHED
        }
        Err(error) => ended(&error),
    }
}

async fn compact_lanes(found: &look::Found, options: &args::Compact) -> Result<Vec<LaneCompacted>, CommitError> {
    let chosen = options.lanes.lane.clone().unwrap_or_default();
    let numbers = chosen.choose(found.root.genesis.lanes).map_err(CommitError::Refused)?;
    if !options.take_over {
        refuse_if_alive(found, &chosen).await?;
    }
    let known = look_at(found, &options.path, &numbers).await?;
    let (store, writer) = (&found.store, Writer::new());
    let mut done = Vec::new();
    if options.upgrade && found.root.format != FORMAT {
        // Whoever wrote before is fenced in every lane, so that nothing of the earlier format comes after.
        let mut lanes = Vec::new();
        for (number, log) in numbers.into_iter().zip(known) {
            lanes.push((open(store, number, &writer).await?, log));
        }
        let root = upgrade(store).await?;
        for (mut lane, log) in lanes {
            lane.follow_root(root.link());
            done.push(compact_lane(store, &root, lane, log).await?);
        }
        return Ok(done);
    }
    for (number, log) in numbers.into_iter().zip(known) {
        let lane = open(store, number, &writer).await?;
        done.push(compact_lane(store, &found.root, lane, log).await?);
    }
    Ok(done)
}

/// What a run would refuse is refused here, too: an older copy of a log would be longer afterwards, and look younger. Gives what
/// was read of the lanes.
async fn look_at(found: &look::Found, named: &str, lanes: &[u32]) -> Result<Vec<LaneLog>, CommitError> {
    let (store, root) = (&found.store, &found.root);
    let (mut logs, mut states) = (Vec::new(), Vec::new());
    for &lane in lanes {
        let (log, state) = commit::read_state(store, root, lane, Known::default(), None).await?;
        logs.push(log);
        states.push(state);
    }
    commit::refuse_older_root(store, root, &states).await?;
    let Ok(sink) = look::open_sink(named, &root.places.sink) else { return Ok(logs) };
    let listing = match commit::list_sink(&sink).await {
        Ok(listing) => listing,
        Err(error) => {
            say!("note: the sink {} cannot be listed, so nothing there was compared: {error}", sink.url());
            return Ok(logs);
        }
    };
    commit::refuse_unknown_writers(store, root, &states, &listing).await?;
    commit::refuse_older_than_manifest(&sink, store, root).await?;
    Ok(logs)
}

async fn open(store: &Store, lane: u32, writer: &Writer) -> Result<Lane, CommitError> {
    Lane::open(store, lane, writer, async || Root::last_link(store).await).await
}

async fn upgrade(store: &Store) -> Result<Root, CommitError> {
    let root = Root::read(store).await?.ok_or_else(CommitError::root_is_gone)?;
    if root.format == FORMAT {
        return Ok(root);
    }
    if !root.upgrade(store).await? {
        return Err(appended("nothing was lifted"));
    }
    Root::read(store).await?.ok_or_else(CommitError::root_is_gone)
}

fn appended(safe: &str) -> CommitError {
    let hint = format!("{safe}; run the same command again");
    CommitError::refused("somebody has just appended to the checkpoint", hint)
}

/// A lane that was finished is so afterwards, too; any other is left as it is when a run stops.
async fn compact_lane(
    store: &Store,
    root: &Root,
    mut lane: Lane,
    known: LaneLog,
) -> Result<LaneCompacted, CommitError> {
    let number = lane.number();
    let (log, before) = commit::read_state(store, root, number, known.into(), Some(lane.opened())).await?;
    let how = before.closed.unwrap_or(Close::Stopped);
    let compacted = lane.compact(root, log).await?;
    lane.close(how).await?;
    Ok(LaneCompacted { lane: number, compacted })
}

pub(super) fn stop(options: &args::Stop) -> u8 {
    let runtime = look::runtime();
    let Looked { store, view } = match look::checkpoint(&options.path, &runtime) {
        Ok(looked) => looked,
        Err(code) => return code,
    };
    let open = view.lanes.iter().filter(|lane| lane.state.closed.is_none());
    let runs: BTreeSet<String> =
        open.filter_map(|lane| lane.state.last_open()).map(|(_, open)| open.run.clone()).collect();
    for run in &runs {
        if let Err(error) = runtime.block_on(commit::request_stop(&store, run)) {
            return ended(&error);
        }
    }
    match options.json {
        true => out!("{}", super::json(&runs)),
        false if runs.is_empty() => out!("no run is at work on this job"),
        false => {
            let names = runs.iter().cloned().collect::<Vec<_>>().join(", ");
            let count = counted(runs.len() as u64, "run");
            out!("{count} asked to stop ({names}): who is alive hears it with the next heartbeat");
        }
    }
    FINISHED
}

pub(super) fn delete(options: &args::Delete) -> u8 {
    let runtime = look::runtime();
    let found = match look::deletable(&options.path, &runtime) {
        Ok(found) => found,
        Err(code) => return code,
    };
    let deleted = runtime.block_on(async {
        if let Some(root) = &found.root {
            refuse_unfinished(&found.store, root, &options.path).await?;
            if !commit::mark_deleted(&found.store, root).await? {
                return Err(appended("nothing was deleted"));
            }
        }
        commit::delete_all(&found.store).await
    });
    match deleted {
        Ok(()) if options.json => {
            out!("{}", text::json(&serde_json::json!({ "deleted": found.store.url() }).to_string()));
        }
        Ok(()) => out!("deleted {}", found.store.url()),
        Err(error) => return ended(&error),
    }
    FINISHED
}

/// Without its checkpoint an unfinished job would begin anew and double its output; a finished one is known by the manifest in
/// its sink.
async fn refuse_unfinished(store: &crate::store::Store, root: &Root, named: &str) -> Result<(), CommitError> {
    let view = commit::view(store).await?.ok_or(CommitError::Deleted)?;
    if let Some(open) = view.unfinished()? {
        let hint = "finish the job first; to give it up, begin a new one with another checkpoint and an empty sink";
        return Err(CommitError::refused(format!("the job is not finished: {open}"), hint));
    }
    let sink = look::open_sink(named, &root.places.sink);
    let sink = sink.map_err(|_| CommitError::refused("its sink cannot be opened", "mend that first"))?;
    let manifest = commit::manifest(&sink, &root.genesis.job).await?;
    if manifest
        .is_some_and(|manifest| manifest.all_files().eq(view.results().chain(view.files_of(OutputKind::DeadLetters))))
    {
        return Ok(());
    }
    let what = "the sink has no manifest of all that the job has written";
    Err(CommitError::refused(what, "run the job once more, which writes it"))
}
