//! Files that are not what was written: single bytes changed, cut short, added to, forged with right checksums. Never a panic;
//! an accident is always noticed.

mod support;

use support::forge::{Directory, seal, u32_at, u64_at};
use support::{Owned, Random, ask, build_batches};
use wasmpipe_ids::{Damage, Ids, Part};

struct Sample {
    bytes: Vec<u8>,
    asked: Owned,
    answers: Vec<bool>,
}

/// Files of several blocks and sections, and ids in and near them.
fn samples() -> Vec<Sample> {
    let mut random = Random(3);
    let text: Vec<Vec<u8>> = (0..160)
        .flat_map(|i| {
            let (letter, number) = (b'a' + (i % 26) as u8, random.next());
            [
                [&[letter; 30], random.bytes(i % 40, 26).as_slice()].concat(),
                format!("row-{}", i * i).into_bytes(),
                format!("{number:016x}{:016x}", number ^ 77).into_bytes(),
            ]
        })
        .collect();
    let near = text.iter().map(|id| [id.as_slice(), b"!"].concat());
    let strings = sample(Owned::strings(&text), Owned::strings(text.iter().cloned().chain(near)));

    let mut numbers: Vec<u64> = (0..300).map(|i| i * 3).chain(5000..5200).collect();
    numbers.extend((0..1500).map(|_| random.next() | 1 << 63));
    let near: Vec<u64> = numbers.iter().map(|number| number ^ 1 << 40).collect();
    let numbers_and_near = Owned::Numbers([numbers.clone(), near].concat());
    vec![strings, sample(Owned::Numbers(numbers), numbers_and_near)]
}

/// The first half of what is asked is there, the other is not.
fn sample(ids: Owned, asked: Owned) -> Sample {
    let (_, bytes) = build_batches(&[ids], 1 << 20);
    let count = asked.column().len();
    let answers = (0..count).map(|i| i < count / 2).collect();
    Sample { bytes, asked, answers }
}

fn ask_bytes(bytes: &[u8], asked: &Owned) -> Result<Vec<bool>, Damage> {
    ask(&Ids::open(bytes)?, asked)
}

fn verify(bytes: &[u8]) -> Result<(), Damage> {
    Ids::open(bytes)?.verify()
}

#[test]
fn every_changed_byte_is_noticed() {
    for Sample { mut bytes, asked, answers } in samples() {
        assert_eq!(ask_bytes(&bytes, &asked).as_ref(), Ok(&answers));
        for at in 0..bytes.len() {
            for change in [0x01, 0x80, 0xff] {
                bytes[at] ^= change;
                assert!(verify(&bytes).is_err(), "byte {at} ^ {change}: verify");
                let found = ask_bytes(&bytes, &asked);
                assert!(found.is_err() || found.as_ref() == Ok(&answers), "byte {at} ^ {change}: wrong answers");
                bytes[at] ^= change;
            }
        }
    }
}

#[test]
fn every_other_length_is_noticed() {
    let empty = build_batches(&[], 0).1;
    for mut bytes in samples().into_iter().map(|sample| sample.bytes).chain([empty]) {
        for length in 0..bytes.len() {
            assert!(Ids::open(&bytes[..length]).is_err(), "cut to {length}");
        }
        bytes.push(0);
        assert!(Ids::open(&bytes).is_err(), "one byte more");
        bytes.extend_from_slice(&bytes.clone());
        assert!(Ids::open(&bytes).is_err(), "twice");
    }
}

#[test]
fn a_block_is_checked_when_it_is_touched() {
    let ids: Vec<u64> = (0..3000).map(|i| i * i * 1000).collect();
    let (_, mut bytes) = build_batches(&[Owned::Numbers(ids)], 1 << 20);
    let records = Directory::of(&bytes).sections[0].index_at;
    let second_block = u64_at(&bytes, records + 32 + 16) as usize & 0xffff_ffff_ffff;
    bytes[second_block + 200] ^= 1;
    let set = Ids::open(bytes.as_slice()).expect("the index is whole");
    assert_eq!(ask(&set, &Owned::Numbers(vec![0, 1000])), Ok(vec![true; 2]), "another block is whole");
    let damage = ask(&set, &Owned::Numbers(vec![1500 * 1500 * 1000])).expect_err("the damaged block");
    assert_eq!((damage.part, damage.at), (Part::Block(1), second_block as u64), "{damage}");
    assert_eq!(set.verify(), Err(damage), "and stays damaged");
}

#[test]
fn messages_say_where_and_what_to_do() {
    let Sample { bytes, .. } = samples().swap_remove(0);
    let footer = bytes.len() - 48;
    let Directory { at: directory, sections } = Directory::of(&bytes);
    let (index, second) = (sections[0].index_at, sections[1].index_at);
    let cases = [
        (0, "header, at byte 0: this is not an id file".to_owned()),
        (8, "header, at byte 8: its format version is not 3, the one that is known here".to_owned()),
        (20, "block 0, at byte 16: its checksum does not match".to_owned()),
        (index, format!("index, at byte {index}: its checksum does not match")),
        (second, format!("index, at byte {second}: its checksum does not match")),
        (directory, format!("directory, at byte {directory}: its checksum does not match")),
        (footer, format!("footer, at byte {footer}: its checksum does not match")),
        (
            bytes.len() - 1,
            format!("footer, at byte {footer}: the file does not end with one; it was cut short or added to"),
        ),
    ];
    for (at, message) in cases {
        let mut bytes = bytes.clone();
        bytes[at] ^= 2;
        let damage = verify(&bytes).expect_err("damaged");
        assert_eq!(damage.to_string(), format!("the id file is damaged in its {message}"));
        assert_eq!(damage.hint(), "delete the file; it is derived and will be built again");
    }
}

#[test]
fn forged_files_do_not_panic() {
    let mut random = Random(4);
    for Sample { bytes, asked, answers } in samples() {
        let (mut opened, mut whole) = (0, 0);
        for _ in 0..10_000 {
            let mut forged = bytes.clone();
            for _ in 0..=random.below(3) {
                mutate(&mut forged, &mut random);
            }
            seal(&mut forged);
            opened += usize::from(Ids::open(&forged).is_ok());
            let _ = ask_bytes(&forged, &asked);
            whole += usize::from(verify(&forged).is_ok());
        }
        assert!(opened > 1000, "forging gets past the checksums: {opened}");
        assert!(whole < opened, "verify sees more than open: {whole} of {opened}");
        let mut same = bytes.clone();
        seal(&mut same);
        assert!(same == bytes, "sealing is what the writer does");
        assert_eq!(ask_bytes(&same, &asked), Ok(answers));
    }
}

/// Changes a byte or a number somewhere, more often where structure is.
fn mutate(bytes: &mut [u8], random: &mut Random) {
    let directory = Directory::of(bytes);
    let footer = bytes.len() - 48;
    let Some(section) = directory.sections.get(random.below(directory.sections.len().max(1))) else { return };
    let ranges = [
        (16, footer),
        (section.index_at, section.index_at + section.index_bytes),
        (directory.at, footer),
        (footer, footer + 32),
    ];
    let (from, until) = ranges[[0, 0, 1, 1, 2, 3][random.below(6)]];
    let at = (from + random.below((until - from).max(1))).min(bytes.len() - 8);
    match random.below(4) {
        0 => bytes[at] = random.next() as u8,
        1 => bytes[at] = bytes[at].wrapping_add(1),
        2 => bytes[at..at + 4].copy_from_slice(&[0xff; 4]),
        _ => bytes[at..at + 8].copy_from_slice(&(random.below(9000) as u64).to_le_bytes()),
    }
}

#[test]
fn verify_sees_what_checksums_hide() {
    let seen = |bytes: &[u8], at: usize, value: u8| {
        let mut forged = bytes.to_vec();
        assert_ne!(forged[at], value);
        forged[at] = value;
        seal(&mut forged);
        verify(&forged).expect_err("seen").what
    };
    let strings =
        build_batches(&[Owned::strings((0..200).map(|i| format!("{}-row", "abcdefghij".repeat(i))))], 1 << 20).1;
    let section = &Directory::of(&strings).sections[0];
    let first_entry = 16 + u32_at(&strings, 20) as usize;
    assert_eq!(seen(&strings, 20, 0), "a restart points elsewhere");
    assert_eq!(seen(&strings, first_entry + 2, b'z'), "an id is not after the one before it");
    assert_eq!(seen(&strings, section.index_at, b'0'), "its separator is not after the ids before it");

    let filter = u64_at(&strings, Directory::of(&strings).sections[1].at + 32) as usize;
    let at = (filter..).find(|at| strings[*at] != 0).expect("a bit of a string");
    assert_eq!(seen(&strings, at, 0), "a string of the set does not pass");

    let numbers = build_batches(&[Owned::Numbers((0..3000).map(|i| i * i * 1000).collect())], 1 << 20).1;
    let section = &Directory::of(&numbers).sections[0];
    assert_eq!(seen(&numbers, 18, 9), "its numbers are not those of its record");
    assert_eq!(seen(&numbers, section.at + 8, 1), "its records do not describe all blocks");
    assert_eq!(seen(&strings, strings.len() - 48, 1), "it does not describe the whole file");
    assert_eq!(seen(&numbers, section.index_at, 1), "its numbers are not those of its record");
    assert_eq!(seen(&numbers, section.index_at + 32 + 7, 0xff), "a record is none that was written");

    // 209 numbers in 65 buckets; 52 low bits of each lie in 7 bytes. One of the other bits would lead to another bucket.
    let skewed = (0..200).map(|i| i * 5).chain((0..9).map(|i| 1 << (50 + i))).collect();
    let skewed = build_batches(&[Owned::Numbers(skewed)], 1 << 20).1;
    assert_eq!(seen(&skewed, 16 + 2 * 65 + 206 * 7 + 6, 0x10), "its numbers are not those of its record");
}
