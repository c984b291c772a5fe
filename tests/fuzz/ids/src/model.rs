//! Bytes as ids: built into a file, and asked, against a `BTreeSet`.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;

use wasmpipe_ids::{Builder, Column, Id, Ids, Summary};

use crate::strings::Strings;
use crate::{answers, folder};

const BUDGETS: [usize; 8] = [0, 1, 700, 4 << 10, 20_000, 64 << 10, 300_000, 4 << 20];
/// A budget smaller than this writes a run for nearly each string.
const BUDGET_SMALL: usize = 4 << 10;
/// Ids at most, with a small budget and with another.
const IDS_MAX: [usize; 2] = [60, 1500];
/// As many of them have neighbours that are asked, too.
const NEAR_MAX: usize = 150;

/// The first byte says which kind of ids, the second the budget and the threads, the others which ids: see [`Item`].
pub fn model(data: &[u8]) {
    let [kind, how, rest @ ..] = data else { return };
    let how = How { memory_bytes_max: BUDGETS[usize::from(how % 8)], threads: 1 + usize::from(how >> 3) % 3 };
    let items = items(rest, IDS_MAX[usize::from(how.memory_bytes_max >= BUDGET_SMALL)]);
    match kind % 5 {
        0 => check(&how, &map(&items, |item| item.number as u64), |ids| Owned::Numbers(ids.to_vec())),
        1 => check(&how, &map(&items, |item| item.number), |ids| Owned::WideNumbers(ids.to_vec())),
        2 => check(&how, &map(&items, Item::text), |ids| Owned::Text(Strings::new(ids))),
        3 => check(&how, &map(&items, Item::uuid), |ids| Owned::Text(Strings::new(ids))),
        _ => check(&how, &map(&items, Item::bytes), |ids| Owned::Binary(Strings::new(ids))),
    }
}

struct How {
    memory_bytes_max: usize,
    threads: usize,
}

/// Ids, in batches, and others that are near to these.
struct Made<T> {
    batches: Vec<Vec<T>>,
    others: Vec<T>,
}

fn map<T>(items: &Items, id: impl Fn(&Item) -> T) -> Made<T> {
    let batches = items.batches.iter().map(|batch| batch.iter().map(&id).collect()).collect();
    let near = |item: &Item| {
        let Item { shape, number } = *item;
        [
            (shape, number.wrapping_add(1)),
            (shape, number.wrapping_sub(1)),
            (shape + 1, number),
            (shape, number ^ 1 << 40),
        ]
    };
    let count = items.batches.iter().map(Vec::len).sum::<usize>();
    let some = items.batches.iter().flatten().step_by(1 + count / NEAR_MAX);
    let others = some.flat_map(near).map(|(shape, number)| id(&Item { shape, number }));
    Made { batches, others: others.collect() }
}

enum Owned {
    Numbers(Vec<u64>),
    WideNumbers(Vec<u128>),
    Text(Strings),
    Binary(Strings),
}

impl Owned {
    fn column(&self) -> Column<'_> {
        match self {
            Owned::Numbers(numbers) => Column::Numbers(numbers),
            Owned::WideNumbers(numbers) => Column::WideNumbers(numbers),
            Owned::Text(strings) => strings.text(),
            Owned::Binary(strings) => strings.binary(),
        }
    }
}

/// What an id is, read back from a file.
trait FromId: Ord + Clone + Debug + Sync {
    fn from_id(id: Id<'_>) -> Self;
}

impl FromId for u64 {
    fn from_id(id: Id<'_>) -> u64 {
        if let Id::Number(number) = id { number } else { panic!("{id:?} is no number") }
    }
}

impl FromId for u128 {
    fn from_id(id: Id<'_>) -> u128 {
        if let Id::WideNumber(number) = id { number } else { panic!("{id:?} is no wide number") }
    }
}

impl FromId for Vec<u8> {
    fn from_id(id: Id<'_>) -> Vec<u8> {
        if let Id::String(string) = id { string.to_vec() } else { panic!("{id:?} is no string") }
    }
}

fn check<T: FromId>(how: &How, made: &Made<T>, own: impl Fn(&[T]) -> Owned) {
    let model: BTreeSet<&T> = made.batches.iter().flatten().collect();
    let added: usize = made.batches.iter().map(Vec::len).sum();
    let batches: Vec<Owned> = made.batches.iter().map(|batch| own(batch)).collect();
    let (summary, bytes) = build(how, &batches);
    assert_eq!((summary.ids, summary.repeats), (model.len() as u64, (added - model.len()) as u64));
    let set = Ids::open(bytes.as_slice()).expect("it was just written");
    assert_eq!(set.len(), model.len() as u64);
    let mut asked: Vec<T> = made.batches.iter().flatten().chain(&made.others).cloned().collect();
    check_answers(&set, &asked, &model, &own);
    set.verify().expect("it was just written");
    asked.sort();
    check_answers(&set, &asked, &model, &own);
    let mut listed = Vec::new();
    set.for_each(|id| listed.push(T::from_id(id))).expect("it was verified");
    listed.sort();
    assert!(listed.iter().eq(model.iter().copied()), "lists each id once");
}

fn check_answers<T: FromId>(set: &Ids<&[u8]>, asked: &[T], model: &BTreeSet<&T>, own: impl Fn(&[T]) -> Owned) {
    let words = set.ask(own(asked).column()).expect("it was just written");
    for (id, found) in asked.iter().zip(answers(&words, asked.len())) {
        assert_eq!(found, model.contains(id), "{id:?}");
    }
}

/// Threads take turns with the batches.
fn build(how: &How, batches: &[Owned]) -> (Summary, Vec<u8>) {
    let (folder, scratch) = (folder(), folder().join("scratch"));
    std::fs::create_dir_all(&scratch).expect("a folder");
    let builder = Builder::new(&scratch, how.memory_bytes_max, how.threads);
    let add = |thread: usize| {
        let own = batches.iter().skip(thread).step_by(how.threads);
        own.for_each(|batch| builder.add(batch.column()).expect("add"));
    };
    std::thread::scope(|scope| {
        (1..how.threads).for_each(|thread| drop(scope.spawn(move || add(thread))));
        add(0);
    });
    finish(builder, &folder.join("out.ids"), &scratch)
}

fn finish(builder: Builder, out: &Path, scratch: &Path) -> (Summary, Vec<u8>) {
    let summary = builder.finish(out).expect("finish");
    let bytes = std::fs::read(out).expect("it is there");
    assert_eq!(summary.bytes, bytes.len() as u64);
    assert_eq!(std::fs::read_dir(scratch).expect("scratch").count(), 0, "scratch is left empty");
    (summary, bytes)
}

struct Items {
    batches: Vec<Vec<Item>>,
}

/// An id before it is of a kind.
#[derive(Clone, Copy)]
struct Item {
    shape: u8,
    number: u128,
}

/// A byte says what comes next: its low two bits how the next numbers follow from the last, or that a batch ends; the others in which
/// shape they are written.
fn items(mut bytes: &[u8], ids_max: usize) -> Items {
    let mut batches = vec![Vec::new()];
    let (mut number, mut left) = (0u128, ids_max);
    while let Some((next, rest)) = bytes.split_first().filter(|_| left > 0) {
        bytes = rest;
        let shape = next >> 2 & 15;
        let (step, count) = match next & 3 {
            0 => (signed(take::<1>(&mut bytes)[0]), 1),
            1 => {
                let [step, count] = take(&mut bytes);
                (signed(step), usize::from(count) * if next >> 6 == 3 { 16 } else { 1 })
            }
            2 => {
                number = if next >> 6 == 0 {
                    u128::from(u64::from_le_bytes(take(&mut bytes)))
                } else {
                    u128::from_le_bytes(take(&mut bytes))
                };
                (0, 1)
            }
            _ => {
                batches.push(Vec::new());
                continue;
            }
        };
        let count = count.min(left);
        left -= count;
        for _ in 0..count {
            number = number.wrapping_add(step);
            batches.last_mut().expect("there is one").push(Item { shape, number });
        }
    }
    Items { batches }
}

/// The next bytes; zeros behind the last.
fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (taken, rest) = bytes.split_at(N.min(bytes.len()));
    *bytes = rest;
    std::array::from_fn(|place| taken.get(place).copied().unwrap_or(0))
}

/// Small steps in both directions; the largest go far.
fn signed(byte: u8) -> u128 {
    match byte {
        0x7f => 1 << 61 | 12345,
        0x80 => 1 << 100 | 1 << 13,
        _ => i128::from(byte.cast_signed()) as u128,
    }
}

impl Item {
    fn text(&self) -> Vec<u8> {
        let number = self.number;
        let small = number % 1_000_000;
        let text = match self.shape {
            0 => format!("{number}"),
            1 => format!("{small:06}"),
            2 => format!("shard-{:04}/doc-{}", small / 100, small % 100),
            3 => format!("row-{small}"),
            4 => format!("{number:x}"),
            5 => format!("{:032x}", number),
            6 => format!("{:016X}", number as u64),
            7 => format!("{}-{}-{}", small % 7, small / 7 % 11, small / 77),
            8 => format!(
                "{}{}",
                "abcdefghijklmnopqrstuvwxyz".get((small % 26) as usize..).unwrap_or_default(),
                small / 26
            ),
            9 => format!("{:060}", number),
            10 => format!("é{small}\u{0}{small}"),
            11 => "9".repeat((number % 45) as usize),
            12 => format!("{}{small}", "x".repeat(700)),
            13 => format!("{}", self.number as i64),
            14 => return self.bytes(),
            _ => String::new(),
        };
        text.into_bytes()
    }

    fn uuid(&self) -> Vec<u8> {
        // Neighbours are far from each other, or not.
        let bits = if self.shape % 2 == 0 {
            self.number
        } else {
            self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        };
        let hex = format!("{bits:032x}");
        let uuid = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
        let text = match self.shape / 2 {
            0 | 1 => uuid,
            2 => uuid.to_uppercase(),
            3 => format!("<urn:uuid:{uuid}>"),
            4 => hex,
            5 => format!("{{{uuid}}}"),
            _ => format!("{uuid}-{}", bits % 3),
        };
        text.into_bytes()
    }

    /// Of any length; some begin like others.
    fn bytes(&self) -> Vec<u8> {
        let bytes = self.number.to_be_bytes();
        match self.shape {
            shape @ 0..8 => bytes[usize::from(shape) * 2..].to_vec(),
            8 => bytes.repeat(20),
            9 => [&[7; 300], bytes.as_slice()].concat(),
            10 => vec![7; (self.number % 700) as usize],
            11 => [bytes.as_slice(), &[0; 5000]].concat(),
            _ => self.number.to_le_bytes()[..usize::from(self.shape) % 8].to_vec(),
        }
    }
}

/// Each kind with a run of numbers, with several shapes, and with numbers that are far from each other.
pub fn model_seeds() -> Vec<Vec<u8>> {
    let run = |shape: u8, step: u8, count: u8| [1 | shape << 2, step, count];
    let mut ids = [run(0, 1, 200), run(1, 3, 200), run(2, 0x80, 90), run(3, 0xff, 120)].concat();
    ids.push(3);
    ids.extend((0..40u8).flat_map(|shape| run(shape % 16, shape.wrapping_mul(37), 40)));
    let long = [vec![1 | 3 << 6, 1, 255], vec![1 | 3 << 6 | 3 << 2, 2, 255], run(5, 0x7f, 255).to_vec()].concat();
    let far: Vec<u8> = (0..60u8)
        .flat_map(|i| [vec![2 | i << 2], (0..16).map(|k| i.wrapping_mul(k * 7 + 1)).collect()].concat())
        .collect();
    let hows = [0, 4, 7, 10, 21, 5 + 16];
    let with = |kind: u8| {
        hows.iter()
            .flat_map(move |how| [[kind, *how]; 3])
            .zip([&ids, &long, &far].into_iter().cycle())
            .map(|(head, ids)| [&head, ids.as_slice()].concat())
            .collect::<Vec<_>>()
    };
    (0..5).flat_map(with).collect()
}
