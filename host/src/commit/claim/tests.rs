//! Claims: what they say to whom, as values; and two or three starters in every order of their requests, over a store in memory.

use std::collections::BTreeSet;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::super::entry::{Fingerprint, Genesis, SideFile};
use super::super::replay::OpenState;
use super::super::{AliveInSink, Lane, Root, Writer, delete_all, delete_untouched};
use super::*;
use crate::message::Message;
use crate::sink::{FileName, OutputKind};

// --- what claims say ---

fn place(checkpoint: &str) -> Place {
    Place::at(checkpoint, ["host", "boot", "mounts"])
}

fn me(job: &str, checkpoint: &str) -> Claimant {
    Claimant { job: job.into(), place: place(checkpoint), shared: false, is_moved: false }
}

/// `a@p`: job a claims with checkpoint p; `+` behind that is shared, `-` is void.
fn found(number: u64, text: &str) -> Found {
    let (job, rest) = text.split_once('@').unwrap();
    let claimant = Claimant { shared: rest.ends_with('+'), ..me(job, rest.trim_end_matches(['+', '-'])) };
    Found { number, claim: claimant.claim(), is_void: rest.ends_with('-') }
}

/// What the claims say to `a@p`, or to another.
fn verdict(claims: &[&str], me: &Claimant, seen: u64) -> String {
    let found: Vec<Found> = (0..).zip(claims).map(|(number, text)| found(number, text)).collect();
    match judge(&found, me, seen) {
        Verdict::Held(number) => format!("held {number}"),
        Verdict::Free => "free".into(),
        Verdict::Taken(found) => format!("taken {}", found.number),
        Verdict::Moved(found) => format!("moved {}", found.number),
    }
}

#[test]
fn what_the_claims_say_to_whom() {
    let (alone, moved) = (me("a", "p"), Claimant { is_moved: true, ..me("a", "p") });
    let shared = Claimant { shared: true, ..me("a", "p") };
    let rows: &[(&str, &[&str], &Claimant, &str)] = &[
        ("nobody was here", &[], &alone, "free"),
        ("its own", &["a@p"], &alone, "held 0"),
        ("its own, shared", &["a@p+"], &shared, "held 0"),
        ("two tasks of it have claimed", &["a@p", "a@p"], &alone, "held 1"),
        ("another was first", &["b@q"], &alone, "taken 0"),
        ("another was first, and takes others", &["b@q+"], &alone, "taken 0"),
        ("another was first and never will write", &["b@q-"], &alone, "free"),
        ("one of several will", &["b@q-", "c@r", "d@s-"], &alone, "taken 1"),
        ("it takes others beside it", &["b@q+"], &shared, "free"),
        ("a person lets it come beside one that does not", &["b@q"], &shared, "free"),
        ("somebody came beside it", &["a@p", "b@q+"], &alone, "held 0"),
        ("what was judged when it claimed", &["b@q", "a@p"], &alone, "held 1"),
        ("its claim was void to somebody", &["a@p", "b@q"], &alone, "taken 1"),
        ("its claim was void to somebody, shared", &["a@p+", "b@q"], &shared, "taken 1"),
        ("who replaced it was replaced", &["a@p", "b@q-"], &alone, "held 0"),
        ("it has moved elsewhere", &["a@p", "a@q"], &alone, "moved 1"),
        ("it has moved here and away", &["a@q", "a@p", "a@q"], &alone, "moved 2"),
        ("it was moved here, says the log of claims", &["a@q", "a@p"], &alone, "held 1"),
        ("it was moved here, says a person", &["a@q"], &moved, "free"),
        ("it was moved back here, says a person", &["a@p", "a@q"], &moved, "free"),
        ("it was moved to where another is", &["a@q", "b@r"], &moved, "taken 1"),
        ("it was moved without its claims", &["b@r"], &moved, "taken 0"),
    ];
    for (what, claims, me, expected) in rows {
        assert_eq!(verdict(claims, me, u64::MAX), *expected, "{what}");
    }
    // Two copies of a checkpoint are moved at once: each has seen claim 0, and the other's claim is number 1.
    assert_eq!(verdict(&["a@o"], &moved, 1), "free");
    assert_eq!(verdict(&["a@o", "a@q"], &moved, 1), "moved 1");
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

async fn put(store: &Store, name: &str, bytes: &'static [u8]) -> Result<PutResult> {
    store.objects().put(&Path::from(name), PutPayload::from_static(bytes)).await
}

async fn claimed(sink: &Store, me: &Claimant) -> Result<u64, CommitError> {
    let stand = standing(sink, me).await?;
    claim(sink, me, stand.standing).await.map(|claim| claim.number)
}

fn output_of(job: &str) -> String {
    FileName {
        kind: OutputKind::Results,
        folder: "",
        job,
        lane: 0,
        token: &"0".repeat(16),
        sequence: 0,
        extension: "parquet",
    }
    .to_string()
}

const A: &str = "aaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbb";

#[test]
fn only_the_very_checkpoint_replaces_a_claim_and_only_where_there_is_no_output() {
    let sink = Store::memory("sink");
    assert_eq!(wait(claimed(&sink, &me(A, "p"))).unwrap(), 0);
    // Two hosts, each with a checkpoint of its own under one path; one host that was started again; two containers of one host.
    for host in [["other", "boot", "mounts"], ["host", "later", "mounts"], ["host", "boot", "own"]] {
        let elsewhere = Claimant { place: Place::at("p", host), ..me(B, "p") };
        let refused = Message::brief(&wait(claimed(&sink, &elsewhere)).unwrap_err()).line();
        assert!(refused.contains(A) && refused.contains("its checkpoint is p on host"), "{refused}");
        assert!(refused.ends_with("if nobody will go on with it, remove _wasmpipe/claim/0000000000"), "{refused}");
    }
    assert!(wait(claimed(&sink, &me(B, "q"))).is_err());
    wait(put(&sink, &output_of(A), b"rows")).unwrap();
    let refused = Message::brief(&wait(claimed(&sink, &me(B, "p"))).unwrap_err()).line();
    assert!(!refused.contains("remove"), "nobody is told to give up output: {refused}");
    wait(sink.objects().delete(&Path::from(output_of(A)))).unwrap();
    assert_eq!(wait(claimed(&sink, &me(B, "p"))).unwrap(), 1);
    // The first was replaced for good, whatever it may find later.
    assert!(wait(claimed(&sink, &Claimant { place: place("elsewhere"), ..me(A, "p") })).is_err());
}

#[test]
fn runs_on_other_machines_are_known_to_the_log_or_tell_a_copy() {
    let sink = Store::memory("sink");
    let here = me(A, "p");
    assert_eq!(wait(claimed(&sink, &here)).unwrap(), 0);
    let there = Claimant { place: Place::at("p", ["other", "boot", "mounts"]), ..here.clone() };
    let log = |runs: &[&str]| {
        let opens = runs.iter().map(|run| OpenState { run: (*run).to_owned(), ..OpenState::default() });
        LaneState { opens: (0..).zip(opens).collect(), ..LaneState::default() }
    };
    let is_alone = |runs: &[&str]| {
        let stand = wait(standing(&sink, &here)).unwrap();
        let end = wait(refuse_if_gone_on(&sink, A, (0, "own"), [&log(runs)].into_iter()));
        assert_eq!(stand.refuse_beside_copy([&log(runs)].into_iter()).is_ok(), end.is_ok());
        end.is_ok()
    };
    let is_elsewhere = |me: &Claimant| wait(claim(&sink, me, Standing::Held(0))).unwrap().is_elsewhere;
    assert!(!is_elsewhere(&here) && is_elsewhere(&there));
    wait(note_machine(&sink, &there, "r1")).unwrap();
    assert!(is_elsewhere(&here) && !is_elsewhere(&there));
    assert!(is_alone(&["r0", "r1"]) && !is_alone(&["r0"]));
    wait(note_machine(&sink, &here, "r3")).unwrap();
    assert!(!is_elsewhere(&here) && is_elsewhere(&there));
    assert!(is_alone(&["r0", "r1", "r3"]) && !is_alone(&["r0", "r1"]) && !is_alone(&["r0", "r3"]));
    wait(note_machine(&sink, &there, "r4")).unwrap();
    assert!(!is_alone(&["r0", "r1", "r3"]));
    wait(note_left(&sink, &there, "r4")).unwrap();
    assert!(is_alone(&["r0", "r1", "r3"]), "it was refused");
    // A person says that it lives here.
    let moved = Claimant { place: place("q"), is_moved: true, ..here.clone() };
    assert_eq!(wait(claimed(&sink, &moved)).unwrap(), 5);
    assert!(wait(standing(&sink, &moved)).unwrap().refuse_beside_copy([&log(&[])].into_iter()).is_ok());
    let gone_on =
        wait(refuse_if_gone_on(&sink, A, (0, "own"), [&log(&["r1", "r3"])].into_iter())).unwrap_err().to_string();
    assert!(gone_on.contains("its checkpoint is q on host"), "{gone_on}");
    wait(sink.objects().delete(&Path::from(name(5)))).unwrap();
    assert!(
        wait(refuse_if_gone_on(&sink, A, (5, "own"), [&log(&["r1", "r3"])].into_iter())).is_err(),
        "its claim is gone"
    );
}

#[test]
fn a_job_that_was_released_is_in_nobodys_way() {
    let sink = Store::memory("sink");
    let fleeting = |job: &str| Claimant { place: Place::of(&Store::memory("checkpoint")), ..me(job, "") };
    assert_eq!(wait(claimed(&sink, &fleeting(A))).unwrap(), 0);
    assert!(wait(claimed(&sink, &fleeting(B))).is_err());
    wait(release(&sink, &fleeting(A))).unwrap();
    assert_eq!(wait(claimed(&sink, &fleeting(B))).unwrap(), 2);
    wait(put(&sink, &output_of(B), b"rows")).unwrap();
    wait(release(&sink, &fleeting(B))).unwrap();
    assert!(wait(claimed(&sink, &me(A, "p"))).is_err(), "what has written is not released");
}

#[test]
fn a_job_without_a_checkpoint_that_was_killed_is_told_by_its_lock() {
    let folder = tempfile::tempdir().unwrap();
    let watch: Arc<dyn crate::store::Watch> = Arc::new(crate::store::Unwatched);
    let sink = Store::local("sink", folder.path(), &watch).unwrap();
    let fleeting = |job: &str| Claimant { place: Place::of(&Store::memory("checkpoint")), ..me(job, "") };
    let alive = AliveInSink::hold(&sink, A).unwrap();
    assert_eq!(wait(claimed(&sink, &fleeting(A))).unwrap(), 0);
    assert!(wait(claimed(&sink, &fleeting(B))).is_err());
    // As if the process were gone: its lock is free, and lies there still.
    let path = alive.path.clone();
    drop(alive);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, "").unwrap();
    assert_eq!(wait(claimed(&sink, &fleeting(B))).unwrap(), 1);
}

#[test]
fn a_claim_that_does_not_prove_itself_lets_nobody_in() {
    let sink = Store::memory("sink");
    wait(claimed(&sink, &me(A, "p"))).unwrap();
    let bytes = wait(sink.whole(&name(0))).unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1 << bit;
            wait(sink.objects().put(&Path::from(name(0)), flipped.into())).unwrap();
            let error = wait(claimed(&sink, &me(A, "p"))).unwrap_err().to_string();
            assert!(error.contains("_wasmpipe/claim/0000000000 in the sink"), "byte {at}: {error}");
        }
    }
}

// --- in every order ---

/// A store of one process: before each request the others may have their turn. The answer to one request may be lost.
#[derive(Debug)]
struct Stepping {
    inner: Arc<InMemory>,
    requests: Arc<AtomicUsize>,
    lost: Option<usize>,
}

impl std::fmt::Display for Stepping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

/// Ready when it is asked for the second time. Who is read beside others is asked again only if it says that it can go on.
async fn turn() {
    let mut is_second = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut is_second, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Stepping {
    /// Whether the answer to this request is lost.
    async fn turn(&self) -> bool {
        turn().await;
        Some(self.requests.fetch_add(1, Ordering::SeqCst)) == self.lost
    }
}

#[async_trait::async_trait]
impl ObjectStore for Stepping {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let is_lost = self.turn().await;
        let put = self.inner.put_opts(location, payload, options).await;
        if is_lost { Err(Error::Generic { store: "test", source: "connection reset".into() }) } else { put }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.turn().await;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let inner = Arc::clone(&self.inner);
        let one = move |location: Result<Path>| {
            let inner = Arc::clone(&inner);
            async move {
                turn().await;
                let location = location?;
                inner.delete(&location).await.map(|()| location)
            }
        };
        locations.then(one).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, prefix) = (Arc::clone(&self.inner), prefix.cloned());
        let listed = async move {
            turn().await;
            inner.list(prefix.as_ref()).collect::<Vec<_>>().await
        };
        futures::stream::once(listed).flat_map(futures::stream::iter).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.turn().await;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A sink, and checkpoints.
struct World {
    sink: Arc<InMemory>,
    checkpoints: Vec<Arc<InMemory>>,
}

/// A process that begins a job, or goes on with it.
#[derive(Clone, Copy, Debug)]
struct Starter {
    checkpoint: usize,
    shared: bool,
    /// The request whose answer is lost.
    lost: Option<usize>,
}

impl World {
    fn new(checkpoints: usize) -> World {
        World { sink: Arc::default(), checkpoints: (0..checkpoints).map(|_| Arc::default()).collect() }
    }

    fn start(&self, starter: Starter) -> Pin<Box<dyn Future<Output = Result<(), CommitError>>>> {
        let requests = Arc::new(AtomicUsize::new(0));
        let store = |name, inner: &Arc<InMemory>| {
            let (inner, requests) = (Arc::clone(inner), Arc::clone(&requests));
            Store::over(name, Stepping { inner, requests, lost: starter.lost })
        };
        let sink = store("sink", &self.sink);
        let checkpoint = store("checkpoint", &self.checkpoints[starter.checkpoint]);
        Box::pin(async move { start(&checkpoint, &sink, starter).await })
    }

    /// Jobs with output.
    fn jobs(&self) -> BTreeSet<String> {
        let sink = Store::over("sink", Arc::clone(&self.sink));
        now(Box::pin(async move { jobs_with_output(&sink).await })).unwrap()
    }
}

fn genesis() -> Genesis {
    let listing = SideFile { path: "side/l".into(), rows: 0, bytes: 0, digest: String::new() };
    let fingerprint = Fingerprint {
        semantics: 1,
        source_format: "parquet".into(),
        ids: vec![],
        stages: vec![],
        sink_format: "parquet".into(),
        sink_columns: vec![],
    };
    Genesis {
        job: super::super::random_name(),
        created_ms: 0,
        lanes: 1,
        split_bytes: 1,
        ids: None,
        source_schema: String::new(),
        source: String::new(),
        sink: String::new(),
        checkpoint: String::new(),
        listing,
        imported: vec![],
        done: None,
        fingerprint,
        layout: crate::sink::Layout::Flat,
    }
}

/// What a run does until it has written its first file, in the same order.
async fn start(checkpoint: &Store, sink: &Store, starter: Starter) -> Result<(), CommitError> {
    let Starter { shared, .. } = starter;
    let claimant = |job: &str| Claimant { shared, ..me(job, &format!("checkpoint {}", starter.checkpoint)) };
    let planned = match Root::read(checkpoint).await {
        Err(CommitError::Deleted) => delete_all(checkpoint).await.map(|()| None)?,
        read => read?,
    };
    let own = planned.as_ref().map(|root| root.genesis.job.clone());
    if !shared && !other_jobs(sink, own.as_deref()).await.unwrap().is_empty() {
        return Err(CommitError::Refused("output of another job".into()));
    }
    let root = match planned {
        Some(root) => root,
        None => {
            standing(sink, &claimant("")).await?;
            Root::create(checkpoint, genesis()).await?;
            Root::read(checkpoint).await?.ok_or_else(CommitError::root_is_gone)?
        }
    };
    let me = claimant(&root.genesis.job);
    if let Err(error) = claimed(sink, &me).await {
        if is_taken_for_good(sink, &me).await? {
            delete_untouched(checkpoint, &root).await?;
        }
        return Err(error);
    }
    let lane = Lane::open(checkpoint, 0, &Writer::new(), async || Root::last_link(checkpoint).await).await?;
    let root = Root::read(checkpoint).await?.ok_or_else(CommitError::root_is_gone)?;
    if root.genesis.job != me.job {
        return Err(CommitError::Refused("another job has begun".into()));
    }
    let name = FileName {
        kind: OutputKind::Results,
        folder: "",
        job: &me.job,
        lane: 0,
        token: lane.token(),
        sequence: 0,
        extension: "parquet",
    };
    let written = put(sink, &name.to_string(), b"rows").await;
    written.map(drop).map_err(|cause| CommitError::store("write", name, cause))
}

/// To its end, alone.
fn now<T>(mut future: Pin<Box<dyn Future<Output = T>>>) -> T {
    loop {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return answer;
        }
    }
}

/// Who comes next: `choose` says it of so many that are not at their end, and may let one die.
enum Choice {
    Next(usize),
    Dies(usize),
}

/// Plays starters to their ends, each request in the order that is chosen; then each is started again, alone. Whatever
/// happened, one job has written, and it is one that can go on.
fn play(starters: &[Starter], mut choose: impl FnMut(usize) -> Choice) -> String {
    let world = World::new(starters.iter().map(|starter| starter.checkpoint + 1).max().unwrap());
    let mut living: Vec<_> = starters.iter().map(|starter| Some(world.start(*starter))).collect();
    let mut ended = Vec::new();
    loop {
        let left: Vec<usize> = (0..living.len()).filter(|at| living[*at].is_some()).collect();
        if left.is_empty() {
            break;
        }
        let context = &mut Context::from_waker(Waker::noop());
        match choose(left.len()) {
            Choice::Dies(nth) => living[left[nth]] = None,
            Choice::Next(nth) => {
                if let Poll::Ready(result) = living[left[nth]].as_mut().unwrap().as_mut().poll(context) {
                    ended.push(result.is_ok());
                    living[left[nth]] = None;
                }
            }
        }
    }
    let again = |starter: &Starter| now(world.start(Starter { lost: None, ..*starter }));
    let after: Vec<_> = starters.iter().map(again).collect();
    let jobs = world.jobs();
    let wrote = after.iter().filter(|result| result.is_ok()).count();
    let said = || format!("{starters:?}: first {ended:?}, then {after:?}");
    assert!(wrote > 0, "everybody is locked out: {}", said());
    let alone = |starter: &Starter| !starter.shared;
    match starters.iter().any(alone) {
        true if starters.iter().all(alone) => assert_eq!(jobs.len(), 1, "{}", said()),
        // Who takes others comes beside anybody; of the others there is one.
        _ => assert!(jobs.len() <= 1 + starters.iter().filter(|starter| starter.shared).count(), "{}", said()),
    }
    for (starter, result) in starters.iter().zip(&after) {
        let is_refusal = matches!(result, Ok(()) | Err(CommitError::Refused(_)));
        assert!(is_refusal, "{starter:?} ended with {result:?}");
    }
    format!("{ended:?} {after:?}", after = after.iter().map(Result::is_ok).collect::<Vec<_>>())
}

fn at(checkpoint: usize) -> Starter {
    Starter { checkpoint, shared: false, lost: None }
}

/// All orders are for the long run.
fn is_soak() -> bool {
    std::env::var_os("WASMPIPE_SOAK").is_some()
}

/// The number of requests of one that nobody disturbs.
fn requests() -> usize {
    let mut count = 0;
    play(&[at(0)], |_| {
        count += 1;
        Choice::Next(0)
    });
    count
}

/// Two starters: the first does so many requests, then the second so many, and so on; at the end of that one may die.
fn in_turns(starters: &[Starter], turns: &[usize], dies: Option<usize>) {
    let (mut turns, mut left, mut who) = (turns.iter(), 0, 1);
    let mut dies = dies;
    play(starters, |living| {
        while left == 0 {
            match turns.next() {
                Some(turn) => (left, who) = (*turn, 1 - who),
                None => break,
            }
        }
        if left == 0
            && living == 2
            && let Some(dying) = dies.take()
        {
            return Choice::Dies(dying);
        }
        left = left.saturating_sub(1);
        Choice::Next(who.min(living - 1))
    });
}

#[test]
fn two_starters_in_every_order_with_three_changes_of_turn_and_a_death_at_any_request() {
    let (most, step) = (requests() + 2, if is_soak() { 1 } else { 2 });
    let mut played = 0;
    for starters in [[at(0), at(1)], [at(0), at(0)]] {
        for first in (0..most).step_by(step) {
            for second in (1..most).step_by(2 * step) {
                for dies in [None, Some(0), Some(1)] {
                    in_turns(&starters, &[first, second], dies);
                    played += 1;
                }
                for third in (1..most).step_by(5 * step) {
                    in_turns(&starters, &[first, second, third], None);
                    played += 1;
                }
            }
        }
    }
    assert!(played > 100, "only {played} orders");
}

#[test]
fn starters_in_random_orders_that_die_and_lose_answers() {
    let seed = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let mut state = seed;
    let mut below = move |end: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % end
    };
    let mut outcomes = BTreeSet::new();
    for _ in 0..if is_soak() { 20_000 } else { 300 } {
        let starters: Vec<Starter> = (0..2 + below(2))
            .map(|_| {
                let (checkpoint, shared) = (below(3), below(8) == 0);
                Starter { checkpoint, shared, lost: Some(below(80)).filter(|lost| *lost < 40) }
            })
            .collect();
        outcomes.insert(play(&starters, |living| {
            if below(60) == 0 { Choice::Dies(below(living)) } else { Choice::Next(below(living)) }
        }));
    }
    assert!(outcomes.len() > 20, "seed {seed}: {outcomes:?}");
}
