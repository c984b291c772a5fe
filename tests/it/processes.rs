//! What only real processes show: SIGKILL in every phase of a run, runs that are stopped and go on after others took their
//! place, tasks that share a job, a job that is moved. The oracle is the output of one undisturbed process.
//!
//! In CI the numbers are small; `cargo xtask soak` takes the full ones.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use wasmpipe_s3::{Fault, Op, Request, Server, What};

use crate::support::pipeline::{Pipeline, pipeline};
use crate::support::place::{Kind, Objects, Place};
use crate::support::process::{Process, until};
use crate::support::random::Random;
use crate::support::{Multiset, each_twice, is_soak, number_batch, write_parquet};

/// Groups take a while.
fn slow() -> Pipeline {
    sleepy(100_000)
}

fn sleepy(iterations: u32) -> Pipeline {
    let sleepy = format!("hostile.sleepy\nconfig = {{ iterations = {iterations} }}");
    let job = pipeline(&[&sleepy, "hostile.twice"]).sink("columns = [\"id\", \"twice\"]");
    let job = job.checkpoint("group_rows_max = 20\nheartbeat_seconds = 0.1");
    job.run("workers = 2\nreaders = 2\nblock_rows_max = 10").anywhere()
}

/// Full numbers, or those for every day.
fn full_or(full: usize, small: usize) -> usize {
    if is_soak() { full } else { small }
}

/// `in/<number>.parquet`, with `rows` rows each in row groups of 97.
fn numbers(files: usize, rows: usize) -> Objects {
    let folder = tempfile::tempdir().unwrap();
    let file = |number: usize| {
        let (path, first) = (folder.path().join("file"), (number * rows) as i64);
        write_parquet(&path, &number_batch(first..first + rows as i64), 97);
        (format!("in/{number}.parquet"), std::fs::read(path).unwrap().into())
    };
    (0..files).map(file).collect()
}

/// The output of one process that nobody disturbs.
fn undisturbed(kind: Kind, files: &Objects, pipeline: &Pipeline) -> Multiset {
    let place = Place::with(kind, files, pipeline);
    place.finish(&[]);
    place.output()
}

// --- SIGKILL in every phase ---

/// What a run was at when it died: the last step of a commit that the store has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Recovery,
    Reading,
    SinkWrite,
    BetweenSinkAndSegment,
    AfterSegment,
    Compaction,
}

const AIMS: [Phase; 4] = [Phase::Recovery, Phase::SinkWrite, Phase::BetweenSinkAndSegment, Phase::AfterSegment];

fn is_put_below(request: &Request, prefix: &str) -> bool {
    let ops = [Op::Put, Op::UploadStart, Op::UploadPart, Op::UploadComplete];
    ops.contains(&request.op) && request.name.strip_prefix("bucket/").is_some_and(|name| name.starts_with(prefix))
}

/// Requests that a run sent after its recovery, which ends when it writes down what it is going to do.
fn after_recovery(requests: &[Request]) -> Option<&[Request]> {
    let plan = requests.iter().position(|request| is_put_below(request, "checkpoint/runs/"))?;
    Some(&requests[plan + 1..])
}

fn phase(server: &Server) -> Phase {
    let requests = server.requests();
    let Some(requests) = after_recovery(&requests) else { return Phase::Recovery };
    let is_step = |request: &&Request| {
        ["out/", "checkpoint/side/", "checkpoint/lane/"].iter().any(|prefix| is_put_below(request, prefix))
    };
    let Some(last) = requests.iter().rfind(is_step) else { return Phase::Reading };
    if is_put_below(last, "out/") {
        return Phase::SinkWrite;
    }
    if last.name.contains("-compaction-") {
        return Phase::Compaction;
    }
    match server.objects(&last.name).first() {
        Some((_, entry)) if entry.starts_with(b"{\n  \"entry\": \"compaction\"") => Phase::Compaction,
        Some(_) if is_put_below(last, "checkpoint/lane/") => Phase::AfterSegment,
        _ => Phase::BetweenSinkAndSegment,
    }
}

/// Whether a run has come to the `nth` time of a phase.
fn has_reached(server: &Server, aim: Phase, nth: usize) -> bool {
    let requests = server.requests();
    let prefix = match aim {
        Phase::SinkWrite => "out/",
        Phase::BetweenSinkAndSegment => "checkpoint/side/",
        Phase::AfterSegment => "checkpoint/lane/",
        _ => return requests.len() >= nth * 3,
    };
    let Some(requests) = after_recovery(&requests) else { return false };
    let mut seen = requests.iter().filter(|request| is_put_below(request, prefix));
    let Some(last) = seen.nth(nth - 1) else { return false };
    aim != Phase::AfterSegment || !server.objects(&last.name).is_empty()
}

/// Kills runs of a job, one after the other, each in the phase that it is its turn to be.
fn kill_again_and_again(place: &Place, kills: usize) -> BTreeMap<Phase, usize> {
    let (mut hit, mut random) = (BTreeMap::new(), Random::of("kills in every phase"));
    for kill in 0..kills {
        place.server().forget();
        let aim = AIMS[kill % AIMS.len()];
        let nth = 1 + random.below(if aim == Phase::Recovery { 12 } else { 3 }) as usize;
        let mut run = place.start(&[]);
        until("a run comes to a phase", || has_reached(place.server(), aim, nth) || !run.is_running());
        let ended = run.kill();
        assert_eq!(ended.code, None, "a run ended before it was killed: {}", ended.said);
        place.server().settle();
        let phase = phase(place.server());
        println!("kill {kill}: {phase:?}");
        *hit.entry(phase).or_default() += 1;
    }
    hit
}

#[test]
fn k5_kills_in_every_phase_of_a_job_on_s3() {
    let kills = full_or(200, 20);
    let files = numbers(4, kills * 25);
    // Groups come more slowly than they are committed, so that the phases of two do not overlap.
    let pipeline = sleepy(1_000_000).checkpoint("compact_entries = 60");
    let place = Place::with(Kind::S3, &files, &pipeline);
    // So that a kill lands where it is aimed, every answer takes a moment.
    place.server().fault(Fault::of_all(What::Delay(Duration::from_millis(2))));
    let hit = kill_again_and_again(&place, kills);
    place.server().heal();
    println!("{kills} kills on S3: {hit:?}");
    let least = full_or(15, 1);
    for aim in AIMS {
        assert!(hit.get(&aim).is_some_and(|hits| *hits >= least), "fewer than {least} kills in {aim:?}: {hit:?}");
    }
    place.finish(&[]);
    place.assert_exactly_once(&undisturbed(Kind::S3, &files, &pipeline), "after the kills");
}

// --- runs that are stopped, and go on too late ---

/// Stops a run when a file of the sink is complete that no entry names yet.
fn stop_between_upload_and_append(place: &Place, run: &mut Process) {
    for _ in 0..1000 {
        let before = place.names("out").len();
        until("a run uploads a file", || place.names("out").len() > before || !run.is_running());
        assert!(run.is_running(), "it ended before it could be stopped: {}", run.said());
        run.stop();
        if let Place::S3(job) = place {
            job.server.settle();
        }
        if !place.uploaded().is_subset(&place.named()) {
            return;
        }
        run.go_on();
    }
    panic!("a thousand stops, none between an upload and its segment");
}

/// What a run that is not at work any more must leave as it is: the output, the files that count, the log.
type Settled = (Objects, BTreeSet<String>, Objects);

fn settled(place: &Place) -> Settled {
    // What the stopped run has staged is nobody's entry, and its own to remove.
    let mut log = place.objects("checkpoint/lane");
    log.retain(|name, _| !name.contains('#'));
    (place.objects("out"), place.named(), log)
}

/// It says that it was fenced, exits with the code for that, and takes away what it has written and its signs of life.
fn goes_on_and_finds_out(place: &Place, zombie: Process) {
    zombie.go_on();
    let said = zombie.wait().expect(5);
    assert!(said.contains("fenced: another run has taken over lane 0"), "{said}");
    assert!(said.contains("nothing is lost"), "{said}");
    assert_eq!(place.names("checkpoint/heartbeat"), [""; 0], "signs of life of a run that is over");
    place.assert_log_is_folder("after a fenced run");
}

fn zombie(kind: Kind, pipeline: &Pipeline, successor: &[&str]) -> Place {
    let place = Place::with(kind, &numbers(4, 500), pipeline);
    let mut zombie = place.start(&[]);
    stop_between_upload_and_append(&place, &mut zombie);
    place.finish(successor);
    let before = settled(&place);
    goes_on_and_finds_out(&place, zombie);
    assert!(settled(&place) == before, "a fenced run changed something");
    place.assert_exactly_once(&each_twice(0..2000), "after a fenced run");
    place
}

#[test]
fn p1_a_stopped_run_whose_place_was_taken_finds_out_and_changes_nothing() {
    for kind in [Kind::Local, Kind::S3] {
        zombie(kind, &slow(), &["--take-over"]);
        // By silence: its heart rests, although it still holds its lock.
        zombie(kind, &slow(), &[]);
    }
}

fn entries_of_kind(place: &Place, kind: &str) -> usize {
    place.inspect()["entries"].as_array().unwrap().iter().filter(|entry| entry["entry"] == kind).count()
}

#[test]
fn p1_a_stopped_run_finds_out_across_a_compaction() {
    let pipeline = slow().checkpoint("compact_entries = 8");
    for kind in [Kind::Local, Kind::S3] {
        let place = zombie(kind, &pipeline, &[]);
        assert_eq!(entries_of_kind(&place, "compaction"), 1);
        assert!(place.names("checkpoint/lane").len() < 16, "{:?}", place.names("checkpoint/lane"));
    }
}

#[test]
fn p1_a_stopped_run_finds_out_that_somebody_has_compacted_by_hand() {
    for kind in [Kind::Local, Kind::S3] {
        let place = Place::with(kind, &numbers(4, 500), &slow());
        let mut zombie = place.start(&[]);
        stop_between_upload_and_append(&place, &mut zombie);
        let compacted = place.command(&["checkpoint", "compact", "pipeline.toml"]);
        Process::start(compacted).wait().expect(0);
        assert_eq!(entries_of_kind(&place, "compaction"), 1);
        let (_, named, log) = settled(&place);
        goes_on_and_finds_out(&place, zombie);
        let (_, named_after, log_after) = settled(&place);
        assert_eq!(named_after, named, "a fenced run changed which files count");
        let names = |log: &Objects| log.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&log_after), names(&log), "a fenced run changed the log");
        place.finish(&[]);
        place.assert_exactly_once(&each_twice(0..2000), "after a compaction and a fenced run");
    }
}

/// Z's append is on its way when R takes over and is killed. Z's heart still beats, but it is R's that counts.
#[test]
fn p17_a_fenced_run_whose_heart_still_beats_keeps_nobody_out() {
    let place = Place::with(Kind::S3, &numbers(4, 500), &slow());
    let late = Fault::of(Op::Put, What::Delay(Duration::from_secs(4))).below("bucket/checkpoint/lane/0/0000000003");
    place.server().fault(late);
    let zombie = place.start(&[]);
    until("the append is on its way", || place.server().count(Op::Put, "bucket/checkpoint/lane/0/0000000003") > 0);
    place.server().heal();
    let successor = place.start(&["--take-over"]);
    until("it is opened", || !place.server().objects("bucket/checkpoint/lane/0/0000000003").is_empty());
    successor.kill();
    place.finish(&[]);
    let said = zombie.wait().expect(5);
    assert!(said.contains("fenced"), "{said}");
    place.assert_exactly_once(&each_twice(0..2000), "after a zombie with a beating heart");
}

#[test]
fn r9_a_second_run_is_refused_while_one_is_alive_and_the_first_goes_on() {
    // No compaction takes the opens out of sight.
    let pipeline = slow().checkpoint("group_rows_max = 100");
    for kind in [Kind::Local, Kind::S3] {
        let place = Place::with(kind, &numbers(4, 3000), &pipeline);
        let mut first = place.start(&[]);
        until("the first run commits", || place.names("checkpoint/lane").len() > 3);
        for _ in 0..2 {
            let said = place.start(&[]).wait().expect(2);
            let named = format!("process {} on ", first.id());
            for words in ["is working on lane 0", &named, "checkpoint stop", "--take-over"] {
                assert!(said.contains(words), "{words} is not in: {said}");
            }
        }
        assert!(first.is_running(), "the first run was over too soon: {}", first.said());
        first.wait().expect(0);
        assert_eq!(entries_of_kind(&place, "open"), 1, "who is refused opens nothing");
        place.assert_exactly_once(&each_twice(0..12_000), "after a second run was refused");
    }
}

// --- tasks that share a job ---

fn shared(job: Pipeline) -> Pipeline {
    job.checkpoint("lanes = 64")
}

fn share(place: &Place, task: usize, of: usize) -> Process {
    place.start(&["--lane", &format!("{task}/{of}")])
}

#[test]
fn k5_four_processes_share_a_job_and_each_is_killed_at_random() {
    let kills = full_or(60, 8);
    for kind in [Kind::Local, Kind::S3] {
        let files = numbers(100, full_or(200, 40));
        let place = Place::with(kind, &files, &shared(sleepy(2_000_000)));
        let mut tasks: Vec<Option<Process>> = (0..4).map(|task| Some(share(&place, task, 4))).collect();
        let (mut alive, mut random) = (0, Random::of(&format!("kills of four processes, {kind:?}")));
        for _ in 0..kills {
            std::thread::sleep(Duration::from_millis(random.below(700)));
            let task = random.below(4) as usize;
            let killed = tasks[task].take().unwrap().kill();
            assert!(matches!(killed.code, None | Some(0)), "{:?}: {}", killed.code, killed.said);
            alive += usize::from(killed.code.is_none());
            tasks[task] = Some(share(&place, task, 4));
        }
        println!("{alive} of {kills} kills on {kind:?} hit a task at work");
        assert!(alive * 2 > kills, "most tasks had ended");
        tasks.into_iter().flatten().for_each(|task| drop(task.wait().expect(0)));
        place.assert_exactly_once(&undisturbed(kind, &files, &slow()), &format!("{kind:?}, four tasks"));
    }
}

#[test]
fn k12_three_processes_finish_a_job_that_four_began() {
    for kind in [Kind::Local, Kind::S3] {
        let files = numbers(100, full_or(200, 40));
        let place = Place::with(kind, &files, &shared(slow()));
        let four: Vec<Process> = (0..4).map(|task| share(&place, task, 4)).collect();
        until("the four have done something", || place.names("out").len() >= 20);
        four.into_iter().for_each(|task| drop(task.kill()));
        let began = place.inspect()["rows_committed"].as_u64().unwrap();
        let three: Vec<Process> = (0..3).map(|task| share(&place, task, 3)).collect();
        three.into_iter().for_each(|task| drop(task.wait().expect(0)));
        let entries = place.inspect()["entries"].as_array().unwrap().len();
        println!("three processes went on at {began} rows; {entries} entries");
        place.assert_exactly_once(&undisturbed(kind, &files, &slow()), "four tasks, then three");
    }
}

/// The old tasks still run: each loses lanes, commits what it has in the others, and says so.
#[test]
fn p5_the_number_of_tasks_changes_while_old_tasks_still_run() {
    for kind in [Kind::Local, Kind::S3] {
        let files = numbers(100, 60);
        let place = Place::with(kind, &files, &shared(slow()));
        let four: Vec<Process> = (0..4).map(|task| share(&place, task, 4)).collect();
        until("the four have done something", || place.names("out").len() >= 8);
        let three: Vec<Process> =
            (0..3).map(|task| place.start(&["--take-over", "--lane", &format!("{task}/3")])).collect();
        let ended: Vec<_> = four.into_iter().map(Process::wait).collect();
        for task in &ended {
            assert!(matches!(task.code, Some(0 | 5)), "{:?}: {}", task.code, task.said);
        }
        assert!(ended.iter().any(|task| task.code == Some(5)), "nobody lost a lane");
        three.into_iter().for_each(|task| drop(task.wait().expect(0)));
        place.assert_exactly_once(&each_twice(0..6000), &format!("{kind:?}, three tasks beside four"));
    }
}

#[test]
fn p2_a_task_that_starts_leaves_alone_what_other_tasks_have_uploaded() {
    for kind in [Kind::Local, Kind::S3] {
        let files = numbers(40, 50);
        let place = Place::with(kind, &files, &shared(slow()));
        let mut other = share(&place, 1, 2);
        stop_between_upload_and_append(&place, &mut other);
        let uploaded = place.names("out");
        share(&place, 0, 2).wait().expect(0);
        let left = place.names("out");
        assert!(uploaded.iter().all(|file| left.contains(file)), "a file of a living task is gone");
        other.go_on();
        other.wait().expect(0);
        place.assert_exactly_once(&each_twice(0..2000), "a task started while another had uploaded");
    }
}

// --- a job that is moved ---

/// A copy of all that there is, elsewhere. The originals are gone.
fn moved(place: Place, to: Kind, pipeline: &Pipeline) -> Place {
    let folders = ["in", "out", "checkpoint"].map(|folder| place.objects(folder));
    Place::with(to, &folders.into_iter().flatten().collect(), pipeline)
}

const STAGED: &str = "checkpoint/lane/0/0000000002#7";

fn move_in_the_middle(from: Kind, to: Kind, pipeline: &Pipeline) {
    let files = numbers(4, 500);
    let place = Place::with(from, &files, pipeline);
    let run = place.start(&[]);
    until("some of it is done", || place.names("checkpoint/lane").len() > 20);
    run.kill();
    if from == Kind::S3 {
        place.server().settle();
    }
    if from == Kind::Local {
        // As if the kill had hit a local store in the middle of a write.
        std::fs::write(place.workdir().path(STAGED), "{\"entry\":").unwrap();
    }
    let (done, named) = (place.inspect()["rows_committed"].as_u64().unwrap(), place.named());
    let place = moved(place, to, pipeline);
    let said = place.start(&[]).wait().expect(2);
    assert!(said.contains("--relocate"), "{said}");
    let summary = place.finish(&["--relocate"]);
    println!("{from:?} to {to:?}: {done} rows were done; the summary says {}", summary["rows_skipped"]);
    assert_eq!(summary["rows_skipped"], done, "what was finished is not redone");
    assert_eq!((&summary["rows_read"], &summary["rows_known"]), (&(2000 - done).into(), &0.into()));
    // Files of dead writers from before the move are left where they are; nobody else may still need them there.
    assert!(place.named().is_superset(&named), "what was finished counts as it did");
    assert_eq!(place.rows_of(&place.named()), each_twice(0..2000));
    assert!(done > 0 && done < 2000);
    assert!(to == Kind::S3 || !place.workdir().path(STAGED).exists(), "a half-written entry is still there");
}

#[test]
fn k12_a_job_that_was_killed_and_moved_goes_on_where_it_was() {
    move_in_the_middle(Kind::Local, Kind::Local, &slow());
    move_in_the_middle(Kind::Local, Kind::Local, &slow().by_position());
    move_in_the_middle(Kind::Local, Kind::S3, &slow());
    move_in_the_middle(Kind::S3, Kind::Local, &slow().by_position());
}

// --- what a resume costs ---

#[test]
fn f9_one_new_object_beside_a_thousand_finished_ones_is_the_only_one_that_is_opened() {
    let (objects, rows) = (full_or(1000, 100), full_or(2000, 200));
    let place = Place::with(Kind::S3, &numbers(objects, rows), &pipeline(&[]).by_position().anywhere());
    place.finish(&[]);
    let late = numbers(1, rows + 1).remove("in/0.parquet").unwrap();
    place.server().put("bucket/in/late.parquet", late);
    place.server().forget();
    let start = Instant::now();
    let run = place.start(&[]);
    until("the first row is out", || place.server().count(Op::Put, "bucket/out/") > 0);
    let first = start.elapsed();
    run.wait().expect(0);
    let server = place.server();
    let opened: Vec<Request> = server.requests().into_iter().filter(|request| request.op != Op::List).collect();
    let of_source = opened.iter().filter(|request| request.name.starts_with("bucket/in/"));
    let others: Vec<&Request> = of_source.clone().filter(|request| request.name != "bucket/in/late.parquet").collect();
    println!(
        "{} reads of the new object; {} listings of the source, {} of the rest; {} reads of the checkpoint; \
         first row out after {first:?}, all after {:?}",
        of_source.count(),
        server.count(Op::List, "bucket/in/"),
        server.count(Op::List, "bucket/") - server.count(Op::List, "bucket/in/"),
        server.count(Op::Get, "bucket/checkpoint/"),
        start.elapsed(),
    );
    assert!(others.is_empty(), "finished objects were read: {others:?}");
    assert_eq!(place.output().values().sum::<u64>() as usize, objects * rows + rows + 1);
}
