//! Halving against a model: a function that is called with any rows, and the answer that it would give to the honest ones.

use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};

use super::*;

/// What the function does on a row.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deed {
    /// So many output rows.
    Answer(u32),
    Refuse,
    Trap,
    PassLimit,
    Hang,
}

/// How it says how many rows came of each.
#[derive(Clone, Copy, Debug)]
enum Said {
    Same,
    Kept,
    Counts,
    /// In any way that is true.
    Any,
}

/// Rows of each call, and whether a new instance was asked for.
type Calls = Vec<(Range<usize>, Start)>;

/// A function of rows that are their own numbers, and what was called.
struct Function<'a> {
    deeds: &'a [Deed],
    said: Said,
    calls: Calls,
}

fn adds() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("s", DataType::Utf8, false)]))
}

fn numbers(rows: usize) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
    RecordBatch::try_from_iter([("n", numbers)]).unwrap()
}

/// Honest rows of a range, answered in one call.
fn answer(deeds: &[Deed], first: usize, said: Said) -> Answer {
    let count = |deed: &Deed| if let Deed::Answer(count) = deed { *count } else { 0 };
    let counts: Vec<u32> = deeds.iter().map(count).collect();
    let text = |(row, count): (usize, &u32)| (0..*count).map(move |child| format!("{}.{child}", first + row));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(counts.iter().enumerate().flat_map(text)));
    let refused = deeds.iter().zip(0..).filter(|(deed, _)| **deed == Deed::Refuse);
    let errors = refused.map(|(_, row)| RowError { row, message: format!("{} is refused", first + row as usize) });
    let kept = || Lineage::Kept(counts.iter().map(|&count| count == 1).collect());
    let is_at_most_one = counts.iter().all(|&count| count <= 1);
    let lineage = match said {
        Said::Same | Said::Any if counts.iter().all(|&count| count == 1) => Lineage::Same,
        Said::Same | Said::Kept => kept(),
        Said::Any if is_at_most_one && first.is_multiple_of(2) => kept(),
        Said::Counts | Said::Any => Lineage::Counts(counts),
    };
    Answer { batch: RecordBatch::try_new(adds(), vec![texts]).unwrap(), lineage, errors: errors.collect() }
}

impl Function<'_> {
    fn call(&mut self, rows: &RecordBatch, start: Start) -> Result<Answer, CallError> {
        let numbers = rows.column(0).as_primitive::<Int64Type>();
        let first = numbers.value(0) as usize;
        let range = first..first + numbers.len();
        self.calls.push((range.clone(), start));
        for (row, deed) in range.clone().zip(&self.deeds[range.clone()]) {
            match deed {
                Deed::Answer(_) | Deed::Refuse => {}
                Deed::Trap => return Err(CallError::new(CallFailure::Trap, format!("{row} traps"))),
                Deed::PassLimit => return Err(CallError::new(CallFailure::Limit, format!("{row} is too much"))),
                Deed::Hang => return Err(CallError::new(CallFailure::Timeout, format!("{row} hangs"))),
            }
        }
        Ok(answer(&self.deeds[range], first, self.said))
    }
}

const FAR: Isolation = Isolation {
    calls_max: u64::MAX,
    time_max: Duration::MAX,
    hangs_max: u32::MAX,
    run_time_written: None,
    skips_unseparated: false,
};

/// All rows that end the function are wanted, whatever time it takes.
fn search<'a>(adds: &'a SchemaRef, isolation: &'a Isolation, limits: &'a Limits) -> Search<'a> {
    Search { adds, isolation, limits, before: AnswerSize::default(), stops_at_first: false, run_time: None }
}

/// What the rows of a block were answered with.
fn whole(outcome: &Outcome, rows: usize) -> Answer {
    merged(outcome.answers.clone(), rows, &adds()).unwrap()
}

/// The outcome, and the calls that it took.
fn searched(deeds: &[Deed], said: Said, isolation: Isolation, stops_at_first: bool) -> (Result<Outcome, Stop>, Calls) {
    let (adds, limits) = (adds(), Limits::default());
    let mut function = Function { deeds, said, calls: Vec::new() };
    let search = Search { stops_at_first, ..search(&adds, &isolation, &limits) };
    let outcome = isolate(&numbers(deeds.len()), search, |rows, start| function.call(rows, start));
    (outcome, function.calls)
}

fn poison_of(deeds: &[Deed]) -> Vec<Poison> {
    let poison = |(row, deed): (u32, &Deed)| {
        let (kind, message) = match deed {
            Deed::Answer(_) | Deed::Refuse => return None,
            Deed::Trap => (FailureKind::Trap, format!("{row} traps")),
            Deed::PassLimit => (FailureKind::Limit, format!("{row} is too much")),
            Deed::Hang => (FailureKind::Limit, format!("{row} hangs")),
        };
        Some(Poison { row, kind, message: Arc::new(message.into()) })
    };
    (0..).zip(deeds).filter_map(poison).collect()
}

/// SplitMix64, by Sebastiano Vigna.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut random = self.0;
        random = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        random = (random ^ (random >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (random ^ (random >> 31)) % end
    }

    /// Deeds of 1 to 200 rows: none is bad, few, half or all.
    fn deeds(&mut self, said: Said) -> Vec<Deed> {
        let (rows, bad) = (1 + self.below(200), [0, 1, 5, 50, 100][self.below(5) as usize]);
        let honest = |random: &mut Random| match said {
            Said::Same => Deed::Answer(1),
            Said::Kept => Deed::Answer(random.below(2) as u32),
            Said::Counts | Said::Any => Deed::Answer(random.below(4) as u32),
        };
        let deed = |_| match self.below(100) < bad {
            true => [Deed::Trap, Deed::PassLimit, Deed::Hang][self.below(3) as usize],
            false if self.below(10) == 0 => Deed::Refuse,
            false => honest(self),
        };
        (0..rows).map(deed).collect()
    }
}

#[test]
fn exactly_the_rows_that_end_it_fail_and_the_rest_is_as_if_they_were_not_there() {
    let mut random = Random(14);
    for round in 0..2000 {
        let said = [Said::Same, Said::Kept, Said::Counts, Said::Any][round % 4];
        let deeds = random.deeds(said);
        let (outcome, calls) = searched(&deeds, said, FAR, false);
        let outcome = outcome.unwrap();
        let (found, whole) = (whole(&outcome, deeds.len()), answer(&deeds, 0, said));
        assert_eq!(outcome.poison, poison_of(&deeds), "{deeds:?}");
        assert_eq!((&found.batch, &found.errors), (&whole.batch, &whole.errors), "{deeds:?}");
        let lineages = [&found.lineage, &whole.lineage].map(|lineage| lineage.counts(deeds.len()));
        assert_eq!(lineages[0], lineages[1], "{deeds:?}");
        let is_any_honest = outcome.poison.len() < deeds.len();
        if is_any_honest && !matches!(said, Said::Any) {
            assert_eq!(found.lineage, whole.lineage, "in the same words: {deeds:?}");
        }
        assert_eq!((outcome.left, outcome.calls), (vec![], calls.len() as u64 - 1));
        let is_anew = |(rows, start): &(Range<usize>, Start)| (rows.len() == 1) == (*start == Start::Anew);
        assert!(calls[1..].iter().all(is_anew), "a row is to blame on a new instance only: {calls:?}");
        let levels = u64::from(deeds.len().next_power_of_two().ilog2());
        let most = outcome.poison.len() as u64 * (2 * levels).max(1);
        assert!(outcome.calls <= most, "{} calls for {} rows of {}", outcome.calls, outcome.poison.len(), deeds.len());
    }
}

#[test]
fn one_row_costs_so_many_calls() {
    let calls = |rows: usize, bad: &[usize]| {
        let mut deeds = vec![Deed::Answer(1); rows];
        bad.iter().for_each(|&row| deeds[row] = Deed::Hang);
        let (outcome, calls) = searched(&deeds, Said::Same, FAR, false);
        let is_vain = |(rows, _): &&(Range<usize>, Start)| bad.iter().any(|row| rows.contains(row));
        (outcome.unwrap().calls, calls[1..].iter().filter(is_vain).count())
    };
    // All, and those that took all of their time.
    let of = [calls(64, &[0]), calls(64, &[31]), calls(64, &[63]), calls(64, &[0, 63]), calls(65_536, &[0])];
    assert_eq!(of, [(12, 6), (8, 2), (7, 1), (18, 8), (32, 16)]);
    assert_eq!(calls(64, &(0..64).collect::<Vec<_>>()), (126, 126));
}

#[test]
fn rows_that_are_too_much_together_only_all_succeed() {
    let (adds, limits) = (adds(), Limits::default());
    let deeds = vec![Deed::Answer(1); 100];
    let mut function = Function { deeds: &deeds, said: Said::Same, calls: Vec::new() };
    let search = search(&adds, &FAR, &limits);
    let outcome = isolate(&numbers(100), search, |rows, start| match rows.num_rows() {
        31.. => Err(CallError::new(CallFailure::Limit, "too much")),
        _ => function.call(rows, start),
    });
    let outcome = outcome.unwrap();
    assert_eq!((whole(&outcome, 100), outcome.poison), (answer(&deeds, 0, Said::Same), vec![]));
}

#[test]
fn a_block_of_one_row_has_a_second_chance_on_a_new_instance() {
    let (adds, limits) = (adds(), Limits::default());
    for isolation in [FAR, Isolation { calls_max: 0, ..FAR }] {
        let search = search(&adds, &isolation, &limits);
        let outcome = isolate(&numbers(1), search, |_, start| match start {
            Start::Kept => Err(CallError::new(CallFailure::Limit, "left short by others")),
            Start::Anew => Ok(answer(&[Deed::Answer(1)], 0, Said::Same)),
        });
        let outcome = outcome.unwrap();
        let (failed, calls) = if isolation.calls_max == 0 { (1, 0) } else { (0, 1) };
        assert_eq!((outcome.poison.len(), outcome.calls), (failed, calls));
    }
}

#[test]
fn the_first_is_enough_for_who_asks_for_no_more() {
    let mut random = Random(15);
    for _ in 0..200 {
        let deeds = random.deeds(Said::Counts);
        match (searched(&deeds, Said::Counts, FAR, true), poison_of(&deeds).first()) {
            ((Err(Stop::First(found)), _), Some(first)) => assert_eq!(found, *first),
            ((outcome, _), None) => {
                assert_eq!(whole(&outcome.unwrap(), deeds.len()), answer(&deeds, 0, Said::Counts));
            }
            ((outcome, _), Some(first)) => panic!("{first:?} is not {outcome:?}"),
        }
    }
}

#[test]
fn a_function_that_breaks_the_contract_ends_it_at_once() {
    let (adds, limits, mut calls) = (adds(), Limits::default(), 0);
    let search = search(&adds, &FAR, &limits);
    let outcome = isolate(&numbers(64), search, |rows, _| {
        calls += 1;
        match rows.num_rows() {
            64 | 32 => Err(CallError::new(CallFailure::Trap, "trap")),
            _ => Err(CallError::new(CallFailure::Broken, "two answers")),
        }
    });
    assert!(matches!(&outcome, Err(Stop::Broken(error)) if error.message.what == "two answers"), "{outcome:?}");
    assert_eq!(calls, 3);
}

#[test]
fn a_search_ends_at_its_limits() {
    let deeds: Vec<Deed> = (0..64).map(|row| if row < 32 { Deed::Hang } else { Deed::Answer(1) }).collect();
    let limits = [
        (Isolation { calls_max: 9, ..FAR }, Limit::Calls(9), 3, 0..3),
        (Isolation { calls_max: 0, ..FAR }, Limit::Calls(0), 0, 0..0),
        (Isolation { time_max: Duration::ZERO, ..FAR }, Limit::Time(Duration::ZERO), 0, 0..0),
        (Isolation { hangs_max: 3, ..FAR }, Limit::Hangs(3), 3, 0..3),
    ];
    for (isolation, limit, found, of) in limits {
        let (outcome, calls) = searched(&deeds, Said::Same, isolation, false);
        let Err(Stop::Spent(spent)) = outcome else { panic!("{outcome:?}") };
        assert_eq!((spent.left.limit, &spent.left.rows, spent.found), (limit, &(of.end..64), found));
        assert_eq!(spent.calls, calls.len() as u64 - 1);

        let skips = Isolation { skips_unseparated: true, ..isolation };
        let (outcome, calls) = searched(&deeds, Said::Same, skips, false);
        let outcome = outcome.unwrap();
        assert!(calls.len() as u64 - 1 <= isolation.calls_max);
        // After rows that hang, what is left is called once: a row that is alone by then, and the unharmed half of the block.
        let (one, unharmed) = if let Limit::Hangs(_) = limit { (1, 32) } else { (0, 0) };
        assert_eq!(outcome.poison, poison_of(&deeds)[..found + one], "{limit:?}");
        let mut rows: Vec<u32> = outcome.poison.iter().map(|poison| poison.row).collect();
        rows.extend(outcome.left.iter().flat_map(|left| left.rows.clone()));
        assert!(outcome.left.iter().all(|left| left.limit == limit));
        let answered = whole(&outcome, 64).lineage.counts(64);
        let failed: Vec<u32> = (0..64).filter(|&row| answered[row as usize] == 0).collect();
        assert_eq!(rows, failed, "each row once, in order");
        assert_eq!(answered.iter().sum::<u32>(), unharmed, "{limit:?}");
    }
}

/// There is no use in calling it, for all of its time, as it will not be halved.
#[test]
fn what_is_known_to_hang_is_left_without_a_call() {
    let deeds: Vec<Deed> = (0..64).map(|row| if row == 40 { Deed::Hang } else { Deed::Answer(1) }).collect();
    let (outcome, calls) =
        searched(&deeds, Said::Same, Isolation { hangs_max: 0, skips_unseparated: true, ..FAR }, false);
    let outcome = outcome.unwrap();
    assert_eq!(calls[1..], [(0..32, Start::Kept)]);
    assert_eq!((outcome.left.len(), &outcome.left[0].rows), (1, &(32..64)));
    assert_eq!((outcome.left[0].limit, whole(&outcome, 64).batch.num_rows()), (Limit::Hangs(0), 32));
}

/// A block of one row is called alone in any case: its first call was not the first of its instance.
#[test]
fn a_search_ends_when_the_time_of_the_run_is_spent() {
    let (adds, limits) = (adds(), Limits::default());
    let max = Duration::from_secs(6000);
    let left = |left, rows: usize| {
        let run_time = Some(RunTime { max, left });
        let search = Search { run_time, ..search(&adds, &FAR, &limits) };
        let deeds = vec![Deed::Trap; rows];
        let mut function = Function { deeds: &deeds, said: Said::Same, calls: Vec::new() };
        isolate(&numbers(rows), search, |rows, start| function.call(rows, start))
    };
    assert_eq!(left(max, 8).unwrap().poison.len(), 8);
    let Err(Stop::Spent(spent)) = left(Duration::ZERO, 8) else { panic!("not spent") };
    assert_eq!((spent.left.rows, spent.left.limit, spent.calls), (0..8, Limit::Run(max), 0));
    assert_eq!(spent.left.limit.written(), "isolate_run_seconds_max = 6000");
    let one = left(Duration::ZERO, 1).unwrap();
    assert_eq!((one.poison.len(), one.calls), (1, 1));
}

#[test]
fn rows_that_hang_count_in_succession() {
    let deeds: Vec<Deed> = (0..64).map(|row| if row % 3 == 2 { Deed::Answer(1) } else { Deed::Hang }).collect();
    let (outcome, _) = searched(&deeds, Said::Same, Isolation { hangs_max: 3, ..FAR }, false);
    assert_eq!(outcome.unwrap().poison, poison_of(&deeds));
    let (outcome, _) = searched(&[Deed::Hang; 3], Said::Same, Isolation { hangs_max: 3, ..FAR }, false);
    assert_eq!(outcome.unwrap().poison.len(), 3, "no row is left");
}

#[test]
fn answers_that_are_too_much_together_are_named() {
    let limits = Limits { answer_rows_max: 30, ..Limits::default() };
    let (adds, mut deeds) = (adds(), vec![Deed::Answer(10); 64]);
    deeds[63] = Deed::Trap;
    let mut function = Function { deeds: &deeds, said: Said::Counts, calls: Vec::new() };
    let search = search(&adds, &FAR, &limits);
    let outcome = isolate(&numbers(64), search, |rows, start| match rows.num_rows() {
        4.. => Err(CallError::new(CallFailure::Limit, "too many rows")),
        _ => function.call(rows, start),
    });
    assert!(matches!(outcome, Err(Stop::TooMuch { rows: 14, answers: AnswerSize { rows: 140, .. } })), "{outcome:?}");
}

/// Answers to other calls count: a block has them all at the same time.
#[test]
fn what_was_answered_before_counts() {
    let limits = Limits { answer_rows_max: 30, ..Limits::default() };
    let (adds, deeds) = (adds(), [Deed::Answer(10); 8]);
    let searched = |rows| {
        let mut function = Function { deeds: &deeds, said: Said::Counts, calls: Vec::new() };
        let before = AnswerSize { rows, ..AnswerSize::default() };
        let search = Search { before, ..search(&adds, &FAR, &limits) };
        isolate(&numbers(8), search, |rows, start| match rows.num_rows() {
            4.. => Err(CallError::new(CallFailure::Limit, "too many rows")),
            _ => function.call(rows, start),
        })
    };
    assert!(searched(40).is_ok());
    let outcome = searched(60);
    assert!(matches!(outcome, Err(Stop::TooMuch { rows: 7, answers: AnswerSize { rows: 130, .. } })), "{outcome:?}");
}

/// Offsets of lists are 32 bits wide, and what is in a list may take no bytes; and what is large is not copied.
#[test]
fn large_answers_stay_apart() {
    use arrow::array::{ListArray, NullArray};
    use arrow::buffer::OffsetBuffer;
    let item = Arc::new(Field::new("item", DataType::Null, true));
    let adds: SchemaRef = Arc::new(Schema::new(vec![Field::new("l", DataType::List(Arc::clone(&item)), false)]));
    let limits = Limits {
        answer_values_max: u64::MAX,
        answer_bytes_max: u64::MAX,
        memory_bytes_max: u64::MAX,
        ..Limits::default()
    };
    let search = search(&adds, &FAR, &limits);
    let outcome = isolate(&numbers(8), search, |rows, _| match rows.num_rows() {
        1 => {
            let number = rows.column(0).as_primitive::<Int64Type>().value(0);
            let length = if number < 4 { 1 << 30 } else { 1 };
            let offsets = OffsetBuffer::from_lengths([length]);
            let list: ArrayRef =
                Arc::new(ListArray::new(Arc::clone(&item), offsets, Arc::new(NullArray::new(length)), None));
            let batch = RecordBatch::try_new(Arc::clone(&adds), vec![list]).unwrap();
            Ok(Answer { batch, lineage: Lineage::Same, errors: vec![] })
        }
        _ => Err(CallError::new(CallFailure::Limit, "too much")),
    });
    let rows: Vec<Range<usize>> = outcome.unwrap().answers.into_iter().map(|(rows, _)| rows).collect();
    assert_eq!(rows, [0..1, 1..2, 2..3, 3..4, 4..8]);
}
