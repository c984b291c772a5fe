//! Files that are not what was written: single bytes changed, cut short, added to, forged with right checksums. Never a panic;
//! an accident is always noticed.

mod support;

use support::{Random, build};
use wasmpipe_ids::{Damage, Ids, Part};

/// A file of several blocks, and ids in and near it.
fn sample() -> (Vec<u8>, Vec<Vec<u8>>, Vec<bool>) {
    let mut random = Random(3);
    let ids: Vec<Vec<u8>> =
        (0..260).map(|i| [format!("row-{i:04}-").into_bytes(), random.bytes(i % 40, 256)].concat()).collect();
    let (_, bytes) = build(&ids, 1 << 20);
    let asked: Vec<Vec<u8>> =
        ids.iter().step_by(9).flat_map(|id| [id.clone(), [id.as_slice(), b"!"].concat()]).collect();
    let answers = (0..asked.len()).map(|i| i % 2 == 0).collect();
    (bytes, asked, answers)
}

fn ask(bytes: &[u8], asked: &[Vec<u8>]) -> Result<Vec<bool>, Damage> {
    Ids::open(bytes)?.ask(asked.iter().map(Vec::as_slice))
}

fn verify(bytes: &[u8]) -> Result<(), Damage> {
    Ids::open(bytes)?.verify()
}

#[test]
fn every_changed_byte_is_noticed() {
    let (mut bytes, asked, answers) = sample();
    assert_eq!(ask(&bytes, &asked).as_ref(), Ok(&answers));
    for at in 0..bytes.len() {
        for change in [0x01, 0x80, 0xff] {
            bytes[at] ^= change;
            assert!(verify(&bytes).is_err(), "byte {at} ^ {change}: verify");
            let found = ask(&bytes, &asked);
            assert!(found.is_err() || found.as_ref() == Ok(&answers), "byte {at} ^ {change}: wrong answers");
            bytes[at] ^= change;
        }
    }
}

#[test]
fn every_other_length_is_noticed() {
    for mut bytes in [sample().0, build([[]; 0] as [[u8; 0]; 0], 0).1] {
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
    let (mut bytes, asked, _) = sample();
    let second_id = separator_of_second(&bytes);
    let records = u64_at(&bytes, bytes.len() - 56 + 24) as usize;
    let second_block = u64_at(&bytes, records + 32) as usize;
    bytes[second_block + 200] ^= 1;
    let set = Ids::open(bytes.as_slice()).expect("the index is whole");
    assert_eq!(set.contains(&asked[0]), Ok(true), "another block is whole");
    let damage = set.contains(&second_id).expect_err("the damaged block");
    assert_eq!(damage.part, Part::Block(1), "{damage}");
    assert_eq!(set.contains(&second_id), Err(damage.clone()), "and stays damaged");
    assert_eq!(set.verify(), Err(damage));
    let mut walk = set.iter();
    assert!(walk.by_ref().any(|id| id.is_err()));
    assert_eq!(walk.next(), None, "a walk ends with its error");
}

#[test]
fn messages_say_where_and_what_to_do() {
    let (bytes, _, _) = sample();
    let hint = "\nhint: delete the file; it is derived and will be built again";
    let footer = bytes.len() - 56;
    let index = u64_at(&bytes, footer + 16) as usize;
    let second_block = u64_at(&bytes, u64_at(&bytes, footer + 24) as usize + 32) as usize;
    let cases = [
        (0, "header, at byte 0: this is not an id file".to_owned()),
        (8, "header, at byte 8: its format version is not 1, the one that is known here".to_owned()),
        (20, "block 0, at byte 16: its checksum does not match".to_owned()),
        (second_block + 99, format!("block 1, at byte {second_block}: its checksum does not match")),
        (index, format!("index, at byte {index}: its checksum does not match")),
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
        assert_eq!(damage.to_string(), format!("the id file is damaged in its {message}{hint}"));
    }
}

#[test]
fn forged_files_do_not_panic() {
    let (bytes, asked, answers) = sample();
    let mut random = Random(4);
    let (mut opened, mut whole) = (0, 0);
    for _ in 0..20_000 {
        let mut forged = bytes.clone();
        for _ in 0..=random.below(3) {
            mutate(&mut forged, &mut random);
        }
        seal(&mut forged);
        opened += usize::from(Ids::open(&forged).is_ok());
        let _ = ask(&forged, &asked);
        whole += usize::from(verify(&forged).is_ok());
    }
    assert!(opened > 2000, "forging gets past the checksums: {opened}");
    assert!(whole < opened, "verify sees more than open: {whole}");
    let mut same = bytes.clone();
    seal(&mut same);
    assert!(same == bytes, "sealing is what the writer does");
    assert_eq!(ask(&same, &asked), Ok(answers));
}

#[test]
fn verify_sees_what_checksums_hide() {
    let (bytes, _, _) = sample();
    let footer = bytes.len() - 56;
    let seen = |at: usize, value: u8| {
        let mut forged = bytes.clone();
        forged[at] = value;
        seal(&mut forged);
        verify(&forged).expect_err("seen").what
    };
    let first_entry = 16 + u32_at(&bytes, 20) as usize;
    assert_eq!(seen(footer, 1), "its number of ids is not that of the blocks");
    assert_eq!(seen(16, 1), "a restart points elsewhere");
    assert_eq!(seen(20, 0), "a restart points elsewhere");
    assert_eq!(seen(first_entry + 2, b's'), "an id is not after the one before it");
    let separators = u64_at(&bytes, footer + 16) as usize;
    assert_eq!(seen(separators, b'a'), "its separator is not after the ids before it");
    assert_eq!(seen(separators, b's'), "its separator is after its first id");
}

/// Changes a byte or a number somewhere, more often where structure is.
fn mutate(bytes: &mut [u8], random: &mut Random) {
    let footer = bytes.len() - 56;
    let index = usize::try_from(u64_at(bytes, footer + 16)).unwrap_or(0).min(footer);
    let (from, until) = [(16, bytes.len()), (16, 200), (index, bytes.len()), (footer, footer + 40)][random.below(4)];
    let at = (from + random.below(until - from)).min(bytes.len() - 8);
    match random.below(4) {
        0 => bytes[at] = random.next() as u8,
        1 => bytes[at] = bytes[at].wrapping_add(1),
        2 => bytes[at..at + 4].copy_from_slice(&[0xff; 4]),
        _ => bytes[at..at + 8].copy_from_slice(&(random.below(9000) as u64).to_le_bytes()),
    }
}

/// Makes all checksums right again, where the file says that they are: written from the documentation alone.
fn seal(bytes: &mut [u8]) {
    let footer = bytes.len() - 56;
    let checksum = |bytes: &[u8]| -> [u8; 8] { blake3::hash(bytes).as_bytes()[..8].try_into().expect("8 bytes") };
    let records = u64_at(bytes, footer + 24) as usize;
    for record in (records.min(footer)..footer).step_by(32).filter(|record| record + 32 <= footer) {
        let at = u64_at(bytes, record) as usize;
        let block = at.checked_add(u32_at(bytes, record + 8) as usize).and_then(|until| bytes.get(at..until));
        if let Some(sum) = block.map(checksum) {
            bytes[record + 24..record + 32].copy_from_slice(&sum);
        }
    }
    if let Some(sum) = bytes.get(u64_at(bytes, footer + 16) as usize..footer).map(checksum) {
        bytes[footer + 32..footer + 40].copy_from_slice(&sum);
    }
    let sum = checksum(&[&bytes[..16], &bytes[footer..footer + 40]].concat());
    bytes[footer + 40..footer + 48].copy_from_slice(&sum);
}

/// The smallest id that only block 1 can hold.
fn separator_of_second(bytes: &[u8]) -> Vec<u8> {
    let footer = bytes.len() - 56;
    let record = u64_at(bytes, footer + 24) as usize + 32;
    let at = (u64_at(bytes, footer + 16) + u64_at(bytes, record + 16)) as usize;
    bytes[at..at + u32_at(bytes, record + 12) as usize].to_vec()
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}
