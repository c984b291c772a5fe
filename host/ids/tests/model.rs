//! The set, against a `BTreeSet`: ids of all kinds and many shapes, budgets from nothing to plenty.

mod support;

use std::collections::BTreeSet;

use support::{Owned, Random, ask, build, build_batches};
use wasmpipe_ids::{Builder, Id, Ids};

type StringShape = fn(&mut Random, usize) -> Vec<u8>;
type NumberShape = fn(&mut Random, usize) -> u64;

const STRINGS: [(&str, StringShape); 16] = [
    ("numbers, big endian", |_, i| (i as u64 * 7).to_be_bytes().to_vec()),
    ("numbers as text", |random, _| random.below(5000).to_string().into_bytes()),
    ("numbers as text, in order", |_, i| i.to_string().into_bytes()),
    ("long numbers as text", |random, _| random.next().to_string().into_bytes()),
    ("numbers with zeros before them", |random, _| format!("{:06}", random.below(3000)).into_bytes()),
    ("parts of shards", |_, i| format!("shard-{:06}/doc-{}", i / 100, i % 100).into_bytes()),
    ("UUIDs", |random, _| uuid(random)),
    ("UUIDs in a URN", |random, _| [b"<urn:uuid:", uuid(random).as_slice(), b">"].concat()),
    ("hashes", |random, _| random.bytes(16, 256)),
    ("two letters, so prefixes of each other", |random, _| {
        let length = random.below(12);
        random.bytes(length, 2)
    }),
    ("paths", |random, _| {
        format!("crate-{}/src/{}.rs", random.below(30), ["a", "b1", "c22"][random.below(3)]).into_bytes()
    }),
    ("long common prefix", |random, _| [vec![b'x'; 700], random.bytes(3, 4)].concat()),
    ("common prefix of nearly a block", |random, _| [vec![b'x'; 4000], random.bytes(3, 4)].concat()),
    ("any length, any byte", |random, _| {
        let length = random.below(300);
        random.bytes(length, 256)
    }),
    ("longer than a block now and then", |random, _| {
        let length = if random.below(40) == 0 { 3000 + random.below(3000) } else { random.below(9) };
        random.bytes(length, 3)
    }),
    ("letters and digits, a template for nearly each", |random, _| {
        random.bytes(9, 36).into_iter().map(|i| b"0123456789abcdefghijklmnopqrstuvwxyz"[i as usize]).collect()
    }),
];

const NUMBERS: [(&str, NumberShape); 8] = [
    ("in order", |_, i| i as u64),
    ("every third", |_, i| i as u64 * 3),
    ("stretches with gaps", |_, i| i as u64 + (i as u64 / 150) * 1000),
    ("half of all", |random, _| random.next() % 4000),
    ("random", |random, _| random.next()),
    ("at both ends", |random, i| if random.below(2) == 0 { i as u64 } else { u64::MAX - i as u64 }),
    ("of all sizes", |random, _| random.next() >> random.below(64)),
    ("one", |_, _| 7),
];

const SIZES: [(usize, usize); 8] =
    [(0, 0), (1, 0), (2, 1), (17, 64), (120, 0), (900, 4096), (3000, 20_000), (6000, 1 << 20)];

fn uuid(random: &mut Random) -> Vec<u8> {
    let (a, b) = (random.next(), random.next());
    format!("{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}", a >> 32, a >> 16 & 0xffff, a & 0xfff, b >> 48, b & 0xffff_ffff_ffff)
        .into_bytes()
}

#[test]
fn strings() {
    let mut random = Random(1);
    for (name, shape) in STRINGS {
        for (count, memory_bytes_max) in SIZES {
            let ids: Vec<Vec<u8>> = (0..count).map(|i| shape(&mut random, i)).collect();
            let absent: Vec<Vec<u8>> = (0..count + 9).map(|i| near(shape(&mut random, i), &mut random)).collect();
            check_strings(&format!("{name}, {count} ids, {memory_bytes_max} bytes"), &ids, &absent, memory_bytes_max);
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

fn check_strings(case: &str, ids: &[Vec<u8>], others: &[Vec<u8>], memory_bytes_max: usize) {
    let model: BTreeSet<&[u8]> = ids.iter().map(Vec::as_slice).collect();
    let (summary, bytes) = build(ids, memory_bytes_max);
    assert_eq!((summary.ids, summary.repeats), (model.len() as u64, (ids.len() - model.len()) as u64), "{case}");

    let set = Ids::open(bytes.as_slice()).expect(case);
    assert_eq!((set.len(), set.is_empty()), (model.len() as u64, model.is_empty()), "{case}");
    set.verify().expect(case);
    let mut listed = Vec::new();
    let collect = |id: Id<'_>| match id {
        Id::String(id) => listed.push(id.to_vec()),
        other => panic!("{other:?}"),
    };
    set.for_each(collect).expect(case);
    listed.sort();
    assert!(listed.iter().eq(model.iter().copied()), "{case}: lists the ids, each once");

    let asked: Vec<&[u8]> = ids.iter().chain(others).map(Vec::as_slice).collect();
    let expected: Vec<bool> = asked.iter().map(|id| model.contains(id)).collect();
    let one_by_one: Vec<bool> = asked.iter().flat_map(|id| ask(&set, &Owned::strings([id])).expect(case)).collect();
    assert!(one_by_one == expected, "{case}: one by one");
    let Owned::Strings(offsets, bytes) = Owned::strings(&asked) else { unreachable!() };
    let large = Owned::LargeStrings(offsets.iter().map(|offset| (*offset).into()).collect(), bytes.clone());
    assert!(ask(&set, &Owned::Strings(offsets, bytes)).expect(case) == expected, "{case}: as they came");
    assert!(ask(&set, &large).expect(case) == expected, "{case}: with wide offsets");

    let sorted: BTreeSet<&[u8]> = asked.iter().copied().collect();
    let of_sorted: Vec<bool> = sorted.iter().map(|id| model.contains(id)).collect();
    assert!(ask(&set, &Owned::strings(sorted)).expect(case) == of_sorted, "{case}: in order");
    assert_eq!(ask(&set, &Owned::Numbers(vec![0, 7])), Ok(vec![false; 2]), "{case}: numbers are no strings");

    let binary = |ids: &[&[u8]]| match Owned::strings(ids) {
        Owned::Strings(offsets, bytes) => Owned::Binary(offsets, bytes),
        _ => unreachable!("strings are made"),
    };
    let ids: Vec<&[u8]> = ids.iter().map(Vec::as_slice).collect();
    let batches: Vec<Owned> = ids.chunks(1000).map(binary).collect();
    let (_, bytes) = build_batches(&batches, memory_bytes_max);
    let set = Ids::open(bytes.as_slice()).expect(case);
    set.verify().expect(case);
    assert!(ask(&set, &binary(&asked)).expect(case) == expected, "{case}: as they are");
}

#[test]
fn numbers() {
    let mut random = Random(5);
    for (name, shape) in NUMBERS {
        for (count, memory_bytes_max) in SIZES.into_iter().chain([(40_000, 64 << 10)]) {
            let mut ids: Vec<u64> = (0..count).map(|i| shape(&mut random, i)).collect();
            let near = |id: &u64| [id.wrapping_sub(1), id.wrapping_add(1), id ^ 1 << 40];
            let others: Vec<u64> = ids.iter().flat_map(near).chain([0, 1, u64::MAX, u64::MAX - 1]).collect();
            for shuffled in [false, true] {
                let case = format!("{name}, {count} ids, {memory_bytes_max} bytes, shuffled: {shuffled}");
                if shuffled {
                    (1..ids.len()).rev().for_each(|i| ids.swap(i, random.below(i + 1)));
                }
                check_numbers(&case, &ids, &others, memory_bytes_max);
            }
        }
    }
}

fn check_numbers(case: &str, ids: &[u64], others: &[u64], memory_bytes_max: usize) {
    let model: BTreeSet<u64> = ids.iter().copied().collect();
    let wide = |id: &u64| u128::from(*id) << 64 | u128::from(id.rotate_left(7));
    let asked: Vec<u64> = ids.iter().chain(others).copied().collect();
    let expected: Vec<bool> = asked.iter().map(|id| model.contains(id)).collect();
    for is_wide in [false, true] {
        let owned = |ids: &[u64]| match is_wide {
            false => Owned::Numbers(ids.to_vec()),
            true => Owned::WideNumbers(ids.iter().map(wide).collect()),
        };
        let batches: Vec<Owned> = ids.chunks(1000).map(owned).collect();
        let (summary, bytes) = build_batches(&batches, memory_bytes_max);
        assert_eq!((summary.ids, summary.repeats), (model.len() as u64, (ids.len() - model.len()) as u64), "{case}");
        let set = Ids::open(bytes.as_slice()).expect(case);
        set.verify().expect(case);
        let mut listed = Vec::new();
        let collect = |id: Id<'_>| match id {
            Id::Number(id) => listed.push(id.into()),
            Id::WideNumber(id) => listed.push(id),
            Id::String(_) => panic!("{id:?}"),
        };
        set.for_each(collect).expect(case);
        let all = model.iter().map(|id| if is_wide { wide(id) } else { (*id).into() });
        assert!(listed.iter().copied().eq(all), "{case}: lists the ids in order");
        assert!(ask(&set, &owned(&asked)).expect(case) == expected, "{case}: as they came");
        let sorted: Vec<u64> = asked.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let expected: Vec<bool> = sorted.iter().map(|id| model.contains(id)).collect();
        assert!(ask(&set, &owned(&sorted)).expect(case) == expected, "{case}: in order");
        assert_eq!(ask(&set, &Owned::strings(["7"])), Ok(vec![false]), "{case}: strings are no numbers");
    }
}

#[test]
fn the_greatest_numbers() {
    let ids = vec![u128::MAX, u128::MAX - 1, 0, 1 << 127, u128::MAX];
    let (summary, bytes) = build_batches(&[Owned::WideNumbers(ids)], 1000);
    assert_eq!(summary.ids, 4);
    let set = Ids::open(bytes).expect("opens");
    set.verify().expect("whole");
    let asked = vec![u128::MAX - 2, u128::MAX - 1, u128::MAX, 0, 1, 1 << 127, 1 << 126];
    let expected = [false, true, true, true, false, true, false];
    assert_eq!(ask(&set, &Owned::WideNumbers(asked)).expect("ask"), expected);
}

/// More shapes than there may be templates: strings of the others are kept as they are.
#[test]
fn more_templates_than_a_file_may_have() {
    let id = |i: usize| {
        format!("{}-{}", "abcdefghijklmnopqrstuvwxyz".get(i % 26..).expect("a letter"), "1".repeat(1 + i / 26))
    };
    let ids: Vec<String> = (0..600).map(id).collect();
    let more: Vec<String> =
        (0..100).flat_map(|i| [format!("z-{}", i % 10), format!("zz-{i}"), format!("yz-{i}")]).collect();
    let all: Vec<Vec<u8>> = ids.iter().chain(&more).map(|id| id.clone().into_bytes()).collect();
    for memory_bytes_max in [0, 100_000, 1 << 20, 64 << 20] {
        for halves in [0, 300, all.len()] {
            let (first, second) = all.split_at(halves);
            check_strings(&format!("{memory_bytes_max} bytes, {halves}"), first, second, memory_bytes_max);
        }
    }
}

#[test]
fn ids_of_a_megabyte() {
    let mut ids: Vec<Vec<u8>> = (0..6).map(|i| [vec![7; 1 << 20], vec![i % 5]].concat()).collect();
    ids.extend([vec![7; 1 << 20], vec![7], vec![], vec![8]]);
    check_strings("long ids", &ids, &[vec![7; (1 << 20) - 1], vec![7; (1 << 20) + 1], vec![7, 7]], 1000);
}

#[test]
fn threads_add_and_ask() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out.ids");
    let builder = Builder::new(folder.path(), 256 << 10, 2);
    let ids =
        |thread: u64| (0..30_000).map(move |i| format!("{}-{}", ["a", "bb", "ccc"][i % 3], i as u64 * 4 + thread));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let builder = &builder;
            scope.spawn(move || {
                let ids: Vec<String> = ids(thread).collect();
                ids.chunks(999).for_each(|ids| builder.add(Owned::strings(ids).column()).expect("add"));
            });
        }
    });
    assert_eq!(builder.finish(&out).expect("finish").ids, 120_000);
    let set = Ids::open(std::fs::read(&out).expect("a file")).expect("opens");
    set.verify().expect("whole");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let set = &set;
            scope.spawn(move || {
                assert!(ask(set, &Owned::strings(ids(thread))).expect("ask").iter().all(|found| *found));
                let absent = (0..1000).map(|i| format!("bb-{}", 3 * i * 4 + thread));
                assert!(ask(set, &Owned::strings(absent)).expect("ask").iter().all(|found| !found));
            });
        }
    });
}
