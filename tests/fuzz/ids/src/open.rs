//! Hostile bytes as a file: opened, asked, verified.

use wasmpipe_ids::{Builder, Column, Damage, Id, Ids};

use crate::strings::Strings;
use crate::{answers, folder, forge};

/// Header and footer.
const ENDS_BYTES: usize = 16 + 48;
const MAGIC: &[u8] = b"WPIPEIDS";
/// Ids of each kind that are asked, at most.
const ASKED_MAX: usize = 400;
/// A forged file claims any number of ids in few bytes.
const LISTED_MAX: u64 = 4096;

/// The bytes but the first are a file; with an even first byte its checksums are made right.
pub fn open(data: &[u8]) {
    let Some((turn, bytes)) = data.split_first() else { return };
    let bytes = if turn % 2 == 0 { sealed(bytes) } else { bytes.to_vec() };
    if let Ok(ids) = Ids::open(bytes.as_slice()) {
        // Blocks are checked when they are touched first: by the questions, or by what looks at all of them.
        if turn % 4 < 2 {
            ask(&ids, &bytes);
            check_all(&ids);
        } else {
            check_all(&ids);
            ask(&ids, &bytes);
        }
    }
}

/// With what opening looks for first.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.len() >= ENDS_BYTES {
        let magic_at = bytes.len() - MAGIC.len();
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&forge::VERSION.to_le_bytes());
        bytes[magic_at..].copy_from_slice(MAGIC);
        forge::seal(&mut bytes);
    }
    bytes
}

fn check_all(ids: &Ids<&[u8]>) {
    if ids.verify().is_ok() && ids.len() <= LISTED_MAX {
        check_listed(ids).expect("it was verified");
    }
}

/// Numbers of a file that is whole are found in it, and it has as many ids as it says. (Strings may be forged into the wrong
/// section, where nobody looks for them.)
fn check_listed(ids: &Ids<&[u8]>) -> Result<(), Damage> {
    let (mut numbers, mut wide_numbers, mut strings) = (Vec::new(), Vec::new(), 0);
    ids.for_each(|id| match id {
        Id::Number(number) => numbers.push(number),
        Id::WideNumber(number) => wide_numbers.push(number),
        Id::String(_) => strings += 1,
    })?;
    assert_eq!((numbers.len() + wide_numbers.len() + strings) as u64, ids.len());
    for column in [Column::Numbers(&numbers), Column::WideNumbers(&wide_numbers)] {
        assert!(answers(&ids.ask(column)?, column.len()).iter().all(|found| *found), "a number is not found");
    }
    Ok(())
}

/// What the file's own bytes say, what is near to it, and the ends of what can be asked: as they lie there, and in order.
fn ask(ids: &Ids<&[u8]>, bytes: &[u8]) {
    let mut numbers: Vec<u64> = vec![u64::MAX, 0, 1, 1 << 63];
    let words = bytes.windows(8).step_by(1 + bytes.len() / ASKED_MAX);
    words.for_each(|word| numbers.push(u64::from_le_bytes(word.try_into().expect("8 bytes"))));
    numbers.extend(numbers.clone().iter().flat_map(|number| [number.wrapping_add(1), number.wrapping_sub(1)]));
    let mut wide: Vec<u128> = numbers.windows(2).map(|pair| u128::from(pair[0]) << 64 | u128::from(pair[1])).collect();
    wide.extend(
        bytes
            .windows(16)
            .step_by(8)
            .take(ASKED_MAX)
            .map(|word| u128::from_le_bytes(word.try_into().expect("16 bytes"))),
    );
    wide.extend([u128::MAX, 0]);
    let mut texts: Vec<Vec<u8>> = numbers.iter().take(ASKED_MAX).flat_map(texts_of).collect();
    texts.extend(
        bytes.windows(24).step_by(1 + bytes.len() / ASKED_MAX).map(|text| text[..usize::from(text[0]) % 24].to_vec()),
    );
    for _ in 0..2 {
        let strings = Strings::new(&texts);
        let columns = [Column::Numbers(&numbers), Column::WideNumbers(&wide), strings.text(), strings.binary()];
        for column in columns {
            let _ = ids.ask(column).map(|words| answers(&words, column.len()));
        }
        numbers.sort_unstable();
        wide.sort_unstable();
        texts.sort_unstable();
    }
}

/// In the shapes that the seeds have.
fn texts_of(number: &u64) -> [Vec<u8>; 3] {
    [format!("row-{number}"), format!("{number:032x}"), format!("{}", number % 1000)].map(String::into_bytes)
}

/// Small files: of each kind of section and of block, and of several.
pub fn open_seeds() -> Vec<Vec<u8>> {
    let spread = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let numbers: [Vec<u64>; 5] = [
        (0..200).collect(),
        (0..300).map(|i| i * 3).collect(),
        (0..1200).map(|i| i * i * 1000).collect(),
        (0..100).map(spread).collect(),
        (0..40).chain((0..200).map(|i| 1000 + i * 2)).chain((1..50).map(spread)).collect(),
    ];
    let wide = |numbers: &[u64]| numbers.iter().map(|n| u128::from(*n) << 64 | u128::from(n.rotate_left(9))).collect();
    let texts: [Vec<String>; 5] = [
        (0..100).map(|i| format!("row-{i}")).collect(),
        (0..90).map(|i| format!("{:016x}{:016x}", spread(i), spread(i + 1000))).collect(),
        ["a", "abc", "abcd", "b", "", "x-y-z"].map(str::to_owned).to_vec(),
        (0..60).map(|i| format!("{}-row", "abcdefghij".repeat(i))).collect(),
        (0..300).map(|i| format!("{}{}", "abcdefghijklmnopqrst".get(i % 20..).expect("a letter"), i / 20)).collect(),
    ];
    let mut files = vec![file(&[])];
    for numbers in &numbers {
        let wide: Vec<u128> = wide(numbers);
        files.extend([file(&[Column::Numbers(numbers)]), file(&[Column::WideNumbers(&wide)])]);
    }
    let texts = texts.map(Strings::new);
    files.extend(texts.iter().flat_map(|texts| [file(&[texts.text()]), file(&[texts.binary()])]));
    let few: Vec<u128> = vec![7, u128::MAX];
    files.push(file(&[Column::Numbers(&numbers[1]), Column::WideNumbers(&few), texts[0].text(), texts[2].text()]));
    let is_whole = |file: &Vec<u8>| Ids::open(sealed(file)).is_ok() && sealed(file) == *file;
    assert!(files.iter().all(is_whole), "sealing is what the writer does");
    let turns = files.iter().enumerate().map(|(place, file)| [&[2 * (place % 2) as u8], file.as_slice()].concat());
    turns.collect()
}

fn file(columns: &[Column<'_>]) -> Vec<u8> {
    let folder = folder();
    let path = folder.join("seed.ids");
    let builder = Builder::new(&folder, 64 << 10, 1);
    columns.iter().for_each(|column| builder.add(*column).expect("add"));
    builder.finish(&path).expect("finish");
    std::fs::read(path).expect("it is there")
}
