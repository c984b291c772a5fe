//! Many strings asked at once: first the filter, 64 at a time, then one after the other where they would be. The
//! filter is left out for a while where most pass, and where most are near each other, since a hash costs more than a look into the
//! block that is at hand.

use super::filter::{Filter, hash};
use super::section::{Place, StringSection};
use crate::column::Strings;
use crate::error::Damage;

const AT_ONCE: usize = 64;
/// If more pass the filter, it is not worth its cache line.
const PASSED_MAX: u32 = 56;
/// So many times 64 strings go without the filter then.
const UNFILTERED: u32 = 15;

/// The answer for `strings[row]` is bit `row`.
pub(crate) fn ask_rows(
    section: &StringSection,
    filter: Option<&Filter>,
    bytes: &[u8],
    strings: &Strings<'_>,
    mut rows: impl Iterator<Item = usize>,
    answers: &mut [u64],
) -> Result<(), Damage> {
    let mut place: Option<Place<'_>> = None;
    let (mut batch, mut hashes) = (Vec::with_capacity(AT_ONCE), Vec::with_capacity(AT_ONCE));
    let mut unfiltered = 0;
    loop {
        batch.clear();
        batch.extend(rows.by_ref().take(AT_ONCE));
        if batch.is_empty() {
            return Ok(());
        }
        let mut passed = u64::MAX;
        let asked = filter.filter(|_| unfiltered == 0);
        if let Some(filter) = asked {
            hashes.clear();
            hashes.extend(batch.iter().map(|row| hash(strings.get(*row))));
            passed = filter.may_have(bytes, &hashes)?;
        }
        let mut near = 0;
        for row in batch.iter().enumerate().filter(|(i, _)| passed >> i & 1 == 1).map(|(_, row)| *row) {
            let id = strings.get(row);
            if place.as_ref().is_some_and(|place| place.spans(id)) {
                near += 1;
            } else {
                place = section.place(bytes, id)?;
            }
            if let Some(place) = &place
                && section.is_at(place, id)?
            {
                answers[row / 64] |= 1 << (row % 64);
            }
        }
        let passed = passed.count_ones();
        unfiltered = match asked {
            Some(_) if passed > PASSED_MAX || 2 * near > passed => UNFILTERED,
            _ => unfiltered.saturating_sub(1),
        };
    }
}
