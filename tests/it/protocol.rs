//! P and K: the checkpoint protocol, scenario by scenario, locally and in a bucket. Writers are stopped at durable steps, go on
//! as zombies, lose answers, compact, and die while they do; the oracle is a model of what a job over the source's last
//! objects must come to.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use wasmpipe::commit::{RowState, View, lane_of};

use crate::support::pipeline::{Pipeline, failing_twice};
use crate::support::place::{Kind, Place};
use crate::support::seam::{Crash, Gate, Steps, Stop};
use crate::support::{Multiset, Said, at_once, is_soak};

/// Two lanes; groups of 8 rows, each in two sink files; a row that fails and one that becomes a dead letter; compaction
/// after four entries.
fn pipeline() -> Pipeline {
    let job = failing_twice(&FAILING).sink("file_bytes_max = 1").run("workers = 1\nreaders = 1\nblock_rows_max = 4");
    job.checkpoint("lanes = 2\ngroup_rows_max = 8\ncompact_entries = 4\nheartbeat_seconds = 0.05").anywhere()
}

/// What the stages leave out.
const FAILING: [i64; 2] = [3, 103];
/// What they keep as a dead letter: it has no negative.
const DEAD: i64 = i64::MIN;

/// The source: objects and the numbers in them.
type Source = BTreeMap<String, Vec<i64>>;

/// What a job must come to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Model {
    output: Multiset,
    letters: BTreeMap<(String, u64), u64>,
    failed: u64,
}

/// What a job over this source must come to, however it got there.
fn model(source: &Source) -> Model {
    let mut model = Model::default();
    for (object, numbers) in source {
        for (row, &n) in numbers.iter().enumerate() {
            match n {
                DEAD => drop(model.letters.insert((object.clone(), row as u64), 1)),
                n if FAILING.contains(&n) => model.failed += 1,
                n => drop(model.output.insert(format!("id-{n}|{}", -n), 2)),
            }
        }
    }
    model
}

fn outcome(place: &Place, view: &View) -> Model {
    Model { output: place.output(), letters: place.letters(view), failed: view.rows(RowState::Failed).unwrap() }
}

/// A name of an object that lies in this lane of two.
fn name(lane: u32, nth: usize) -> String {
    let names = (0..).map(|number| format!("{number}.parquet"));
    names.filter(|name| lane_of(name, 0, 2) == lane).nth(nth).unwrap()
}

/// Two groups in each lane.
fn source() -> Source {
    let with = |row: usize, numbers: std::ops::Range<i64>| {
        let mut numbers: Vec<i64> = numbers.collect();
        numbers[row] = DEAD;
        numbers
    };
    [(name(0, 0), with(9, 0..16)), (name(1, 0), with(5, 100..116))].into()
}

/// One more object; and, where ids tell rows apart, one that is in another order, mended, and longer.
fn changed_source(with_ids: bool) -> Source {
    let mut changed = source();
    changed.insert(name(0, 1), (200..208).collect());
    if with_ids {
        let rewritten = changed.get_mut(&name(1, 0)).unwrap();
        rewritten[5] = 105;
        rewritten.reverse();
        rewritten.extend(116..120);
    }
    changed
}

fn put(place: &Place, before: &Source, source: &Source) {
    for (name, numbers) in source.iter().filter(|(name, numbers)| before.get(*name) != Some(numbers)) {
        place.numbers(name, numbers.iter().copied(), 8);
    }
}

/// A job whose source lies there.
fn begin(kind: Kind, pipeline: &Pipeline) -> Place {
    let place = Place::new(kind, pipeline);
    put(&place, &Source::new(), &source());
    place
}

/// A run is stopped before its second segment; another takes over, finishes the job, and compacts; the first goes on. Then the
/// source changes, and a third run does what is new, and compacts again.
fn play(place: &Place, steps: &Arc<Steps>, with_ids: bool) {
    let gate = Gate::before("checkpoint Put lane/0/0000000002");
    let stopped = Arc::new(Crash::of(steps).behind(&gate));
    let process = || Arc::new(Crash::of(steps));
    std::thread::scope(|threads| {
        let zombie = threads.spawn(|| place.run_with(&stopped));
        gate.wait(|| zombie.is_finished());
        place.run_as(&process(), Said { take_over: true, ..Said::default() });
        gate.go_on();
        zombie.join().unwrap();
    });
    put(place, &source(), &changed_source(with_ids));
    place.run_with(&process());
}

#[track_caller]
fn assert_exactly_once(place: &Place, source: &Source, context: &str) {
    let view = place.view();
    assert_eq!(outcome(place, &view), model(source), "{context}");
    place.assert_manifest_is_folder(&view, context);
    place.assert_settled(context);
}

/// Plays a script with a stop at each of its durable steps, finishes it with one plain run, and compares. Gives the number
/// of points.
fn every_point(
    script: &str,
    one_in: usize,
    begin: impl Fn() -> Place + Sync,
    play: impl Fn(&Place, &Arc<Steps>) + Sync,
    last: &Source,
) -> u64 {
    let started = Instant::now();
    let steps = (0..3).map(|_| undisturbed(&begin, &play, last)).max().unwrap();
    let stops: Vec<Stop> = Stop::all(0..steps).into_iter().step_by(one_in).collect();
    let (reached, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    at_once(&stops, |&stop| {
        let steps = Steps::until(Some(stop));
        let point = || {
            let place = begin();
            play(&place, &steps);
            place.run().finished();
            assert_exactly_once(&place, last, &format!("{script}: {stop:?}"));
        };
        if catch_unwind(AssertUnwindSafe(point)).is_err() {
            failed.lock().unwrap().push((stop, steps.seen()));
        }
        reached.fetch_add(u64::from(steps.is_over()), Ordering::SeqCst);
    });
    let reached = reached.into_inner();
    println!("{script}: {reached} points of {steps} durable steps, {:.1} s", started.elapsed().as_secs_f64());
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{script}: failed at {} points, first {:?}", failed.len(), failed[0]);
    assert!(one_in > 1 || (reached >= 2 * steps && reached >= 100), "{script}: only {reached} points");
    reached
}

/// The number of steps that a script has. They differ a little, by which group is in its files first.
fn undisturbed(begin: impl Fn() -> Place, play: impl Fn(&Place, &Arc<Steps>), last: &Source) -> u64 {
    let (place, steps) = (begin(), Steps::until(None));
    play(&place, &steps);
    assert_exactly_once(&place, last, "undisturbed");
    steps.count()
}

#[test]
fn every_durable_step_of_a_job_with_everything_is_a_safe_place_to_stop() {
    let play = |place: &Place, steps: &Arc<Steps>| play(place, steps, true);
    every_point("local, by id", 1, || begin(Kind::Local, &pipeline()), play, &changed_source(true));
}

/// Every step with WASMPIPE_SOAK; else some: what a bucket does otherwise than a disk is the same at most of them.
#[test]
fn every_durable_step_of_a_job_with_everything_in_a_bucket_is_a_safe_place_to_stop() {
    let play = |place: &Place, steps: &Arc<Steps>| play(place, steps, true);
    let one_in = if is_soak() { 1 } else { 4 };
    every_point("S3, by id", one_in, || begin(Kind::S3, &pipeline()), play, &changed_source(true));
}

/// Of the points of a job by position, some: those of the one by id have most of what it has.
#[test]
fn durable_steps_of_a_job_by_position_are_safe_places_to_stop() {
    let by_position = pipeline().by_position();
    let play = |place: &Place, steps: &Arc<Steps>| play(place, steps, false);
    for (kind, one_in) in [(Kind::Local, 4), (Kind::S3, 10)] {
        every_point(
            &format!("{kind:?}, by position"),
            one_in,
            || begin(kind, &by_position),
            play,
            &changed_source(false),
        );
    }
}
