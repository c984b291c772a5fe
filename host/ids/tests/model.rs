//! The set, against a `BTreeSet`: ids of many shapes, budgets from nothing to plenty.

mod support;

use std::collections::BTreeSet;

use support::{Random, build};
use wasmpipe_ids::Ids;

type Shape = fn(&mut Random, usize) -> Vec<u8>;

const SHAPES: [(&str, Shape); 9] = [
    ("numbers, big endian", |_, i| (i as u64 * 7).to_be_bytes().to_vec()),
    ("numbers as text", |random, _| random.below(5000).to_string().into_bytes()),
    ("hashes", |random, _| random.bytes(16, 256)),
    ("two letters, so prefixes of each other", |random, _| {
        let length = random.below(12);
        random.bytes(length, 2)
    }),
    ("paths", |random, _| format!("crate-{}/src/module-{}.rs", random.below(30), random.below(100)).into_bytes()),
    ("long common prefix", |random, _| [vec![b'x'; 700], random.bytes(3, 4)].concat()),
    ("any length, any byte", |random, _| {
        let length = random.below(300);
        random.bytes(length, 256)
    }),
    ("longer than a block now and then", |random, _| {
        let length = if random.below(40) == 0 { 3000 + random.below(3000) } else { random.below(9) };
        random.bytes(length, 3)
    }),
    ("zeros and 0xff only, of growing length", |random, i| vec![(random.below(2) * 255) as u8; i % 700]),
];

#[test]
fn holds_what_was_added_and_nothing_else() {
    let mut random = Random(1);
    for (name, shape) in SHAPES {
        for (count, memory_bytes_max) in
            [(0, 0), (1, 0), (2, 1), (17, 64), (120, 0), (900, 4096), (3000, 20_000), (3000, 1 << 20)]
        {
            let ids: Vec<Vec<u8>> = (0..count).map(|i| shape(&mut random, i)).collect();
            let absent: Vec<Vec<u8>> = (0..count + 9).map(|i| near(shape(&mut random, i), &mut random)).collect();
            check(&format!("{name}, {count} ids, {memory_bytes_max} bytes"), &ids, &absent, memory_bytes_max);
        }
    }
}

/// An id that is not far from one of the set: longer, shorter, or with another byte.
fn near(mut id: Vec<u8>, random: &mut Random) -> Vec<u8> {
    match random.below(4) {
        0 => id.push(random.next() as u8),
        1 => drop(id.pop()),
        2 if !id.is_empty() => {
            let place = random.below(id.len());
            id[place] = id[place].wrapping_add(1);
        }
        _ => {}
    }
    id
}

fn check(case: &str, ids: &[Vec<u8>], others: &[Vec<u8>], memory_bytes_max: usize) {
    let model: BTreeSet<&[u8]> = ids.iter().map(Vec::as_slice).collect();
    let (summary, bytes) = build(ids, memory_bytes_max);
    assert_eq!((summary.ids, summary.repeats), (model.len() as u64, (ids.len() - model.len()) as u64), "{case}");

    let set = Ids::open(bytes.as_slice()).expect(case);
    assert_eq!((set.len(), set.is_empty()), (model.len() as u64, model.is_empty()), "{case}");
    set.verify().expect(case);
    let listed: Vec<Vec<u8>> = set.iter().collect::<Result<_, _>>().expect(case);
    assert!(listed.iter().eq(model.iter().copied()), "{case}: lists the ids in order");

    let asked: Vec<&[u8]> = ids.iter().chain(others).map(Vec::as_slice).collect();
    let expected: Vec<bool> = asked.iter().map(|id| model.contains(id)).collect();
    let one_by_one: Vec<bool> = asked.iter().map(|id| set.contains(id).expect(case)).collect();
    assert_eq!(one_by_one, expected, "{case}: contains");
    assert_eq!(set.ask(asked.iter().copied()).expect(case), expected, "{case}: ask, as they came");

    let sorted: BTreeSet<&[u8]> = asked.into_iter().collect();
    let expected: Vec<bool> = sorted.iter().map(|id| model.contains(id)).collect();
    assert_eq!(set.ask(sorted).expect(case), expected, "{case}: ask, in order");
}

#[test]
fn the_budget_does_not_change_the_file() {
    let mut random = Random(2);
    let ids: Vec<Vec<u8>> = (0..2000).map(|_| random.bytes(9, 4)).collect();
    let (_, plenty) = build(&ids, 1 << 20);
    for memory_bytes_max in [0, 1000, 30_000] {
        assert!(build(&ids, memory_bytes_max).1 == plenty, "{memory_bytes_max} bytes");
    }
}

#[test]
fn ids_of_a_megabyte() {
    let mut ids: Vec<Vec<u8>> = (0..6).map(|i| [vec![7; 1 << 20], vec![i % 5]].concat()).collect();
    ids.extend([vec![7; 1 << 20], vec![7], vec![], vec![8]]);
    check("long ids", &ids, &[vec![7; (1 << 20) - 1], vec![7; (1 << 20) + 1], vec![7, 7]], 1000);
}

#[test]
fn many_blocks_shared_by_threads() {
    let ids = || (0..40_000u32).map(|i| (i * 2).to_be_bytes());
    let (_, bytes) = build(ids(), 64 << 10);
    let set = Ids::open(bytes).expect("opens");
    std::thread::scope(|scope| {
        for first in 0..4 {
            let set = &set;
            scope.spawn(move || {
                let asked: Vec<[u8; 4]> = (first..80_000u32).step_by(3).map(u32::to_be_bytes).collect();
                let found = set.ask(asked.iter().map(<[u8; 4]>::as_slice)).expect("ask");
                assert!(asked.iter().zip(found).all(|(id, found)| found == (id[3] % 2 == 0)));
            });
        }
    });
}
