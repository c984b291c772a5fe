//! Many numbers asked at once. In the order of the file they cost a few cache misses each; in no order each costs misses of the
//! address translation too, which are several times as dear. So numbers that are not near each other as they come are
//! brought into ranges first.

use super::section::NumberSection;
use crate::error::Damage;
use crate::number::Number;

/// 2048 ranges: as many places to write to as a scattering pass does well.
const RANGE_BITS: u32 = 11;
/// With fewer numbers than this in all there is nothing to gain.
const NUMBERS_MIN: usize = 2048;
const SAMPLES: usize = 64;
/// Numbers that are brought into ranges together take up to 20 bytes each.
const NUMBERS_AT_ONCE: usize = 1 << 20;

/// Number `i` is that of bit `i`.
pub(crate) fn ask_all<N: Number>(
    section: Option<&NumberSection<N>>,
    bytes: &[u8],
    numbers: &[N],
    answers: &mut [u64],
) -> Result<(), Damage> {
    let Some(section) = section else { return Ok(()) };
    let pieces = numbers.chunks(NUMBERS_AT_ONCE).zip(answers.chunks_mut(NUMBERS_AT_ONCE / 64));
    pieces.into_iter().try_for_each(|(numbers, answers)| ask_piece(section, bytes, numbers, answers))
}

fn ask_piece<N: Number>(
    section: &NumberSection<N>,
    bytes: &[u8],
    numbers: &[N],
    answers: &mut [u64],
) -> Result<(), Damage> {
    if !is_scattered(section, numbers) {
        for (answer, numbers) in answers.iter_mut().zip(numbers.chunks(64)) {
            *answer = section.ask(bytes, numbers)?;
        }
        return Ok(());
    }
    ask_scattered(section, bytes, in_ranges(section, numbers, |i| i as u32), answers)
}

/// Number `i` is that of bit `rows[i]`; rows ascend.
pub(crate) fn ask_some<N: Number>(
    section: &NumberSection<N>,
    bytes: &[u8],
    numbers: &[N],
    rows: &[u32],
    answers: &mut [u64],
) -> Result<(), Damage> {
    if is_scattered(section, numbers) {
        return ask_scattered(section, bytes, in_ranges(section, numbers, |i| rows[i]), answers);
    }
    for (numbers, rows) in numbers.chunks(64).zip(rows.chunks(64)) {
        put_ascending(section.ask(bytes, numbers)?, rows, answers);
    }
    Ok(())
}

fn ask_scattered<N: Number>(
    section: &NumberSection<N>,
    bytes: &[u8],
    (numbers, rows): (Vec<N>, Vec<u32>),
    answers: &mut [u64],
) -> Result<(), Damage> {
    for (numbers, rows) in numbers.chunks(64).zip(rows.chunks(64)) {
        put(section.ask_scattered(bytes, numbers)?, rows, answers);
    }
    Ok(())
}

fn put(found: u64, rows: &[u32], answers: &mut [u64]) {
    for (i, row) in rows.iter().enumerate() {
        answers[*row as usize / 64] |= (found >> i & 1) << (row % 64);
    }
}

/// As [`put`], for rows that ascend: most often one follows the other.
fn put_ascending(found: u64, rows: &[u32], answers: &mut [u64]) {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return };
    if (last - first) as usize != rows.len() - 1 {
        return put(found, rows, answers);
    }
    let (word, bit) = (*first as usize / 64, first % 64);
    answers[word] |= found << bit;
    if let Some(behind) = found.checked_shr(64 - bit).filter(|behind| *behind != 0) {
        answers[word + 1] |= behind;
    }
}

/// Whether most numbers are far from the one before.
fn is_scattered<N: Number>(section: &NumberSection<N>, numbers: &[N]) -> bool {
    if numbers.len() < NUMBERS_MIN {
        return false;
    }
    let step = numbers.len() / SAMPLES;
    let block = |i: usize| section.likely_block(numbers[i]);
    let far = (0..SAMPLES).filter(|sample| block(sample * step).abs_diff(block(sample * step + 1)) > 1).count();
    far > SAMPLES / 4
}

/// The numbers by range, and for each the row that it is of: one pass of a radix sort.
fn in_ranges<N: Number>(section: &NumberSection<N>, numbers: &[N], row: impl Fn(usize) -> u32) -> (Vec<N>, Vec<u32>) {
    let mut ends = vec![0u32; 1 << RANGE_BITS];
    numbers.iter().for_each(|number| ends[section.range(*number, RANGE_BITS)] += 1);
    let mut end = 0;
    for place in &mut ends {
        end += std::mem::replace(place, end);
    }
    let (mut sorted, mut rows) = (vec![N::default(); numbers.len()], vec![0; numbers.len()]);
    for (i, number) in numbers.iter().enumerate() {
        let place = &mut ends[section.range(*number, RANGE_BITS)];
        sorted[*place as usize] = *number;
        rows[*place as usize] = row(i);
        *place += 1;
    }
    (sorted, rows)
}
