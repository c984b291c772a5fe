//! Byte strings that differ only in their digits become numbers: `shard-000123/doc-456` is the number 123456 of the template
//! `shard-######/doc-###`. Equal strings have equal templates and numbers, others do not, and within a template the order of the
//! numbers is that of the strings, since all have the same length. Known from compressors of logs and of read names (CLP; Bonfield
//! 2022), which take the digits out for the same reason.
//!
//! Which bytes are taken out is decided by the string alone:
//!
//! 1. the 32 digits of a UUID (`8-4-4-4-12` of `0-9a-f`, none of these before or behind it), if one of them is a letter;
//! 2. a longest run of `0-9a-f` of 16 bytes or more, if one of them is a letter;
//! 3. every other decimal digit.
//!
//! The number has base 16 in the places of the first two, 10 in the others. A string of more than 256 bytes, without such places,
//! or with numbers that do not fit in 128 bits, has no template.

const LENGTH_MAX: usize = 256;
const HEX_RUN_MIN: usize = 16;
const UUID_LENGTH: usize = 36;
const UUID_DASHES: [usize; 4] = [8, 13, 18, 23];

const LITERAL: u8 = 0;
const DECIMAL: u8 = 1;
const HEX: u8 = 2;

/// One for each place of a string.
type Bits = [u64; LENGTH_MAX / 64];

const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = 0x8080_8080_8080_8080;

/// What all strings of one shape have in common.
#[derive(Debug)]
pub(crate) struct Template {
    /// A kind for each place, then the bytes, 0 in places that are taken out.
    key: Box<[u8]>,
    length: usize,
    words: Vec<Word>,
    digits: Vec<Digits>,
    /// Places of UUIDs and runs of hexadecimal digits: each needs a letter.
    with_letter: Vec<(usize, usize)>,
    is_short: bool,
}

/// What 8 bytes must look like. Words may overlap; together they are the string.
#[derive(Debug)]
struct Word {
    at: usize,
    /// What each byte is, `0` in the place of a decimal digit, 0 in that of a hexadecimal one.
    least: u64,
    /// By how much each byte may differ from it, taken from 127.
    slack: u64,
    /// All bits of each byte that is a hexadecimal digit.
    hexes: u64,
}

/// Up to 8 digits side by side.
#[derive(Debug)]
struct Digits {
    /// Where to load 8 bytes so that they lie within the string.
    load_at: usize,
    /// What moves the digits to the top bytes, and zeros below them.
    shift_right: u32,
    shift_left: u32,
    is_hex: bool,
    /// The base to the power of how many there are.
    scale: u64,
}

/// Writes the template's key of `id` to `key`. False if it has none.
pub(crate) fn key_of(id: &[u8], key: &mut Vec<u8>) -> bool {
    key.clear();
    if id.len() > LENGTH_MAX {
        return false;
    }
    let mut text = [0; LENGTH_MAX];
    text[..id.len()].copy_from_slice(id);
    let mut kinds = [0; LENGTH_MAX];
    let mut hexes = Bits::default();
    let words = text.as_chunks_mut::<8>().0.iter_mut().zip(kinds.as_chunks_mut::<8>().0);
    for (i, (word, kinds)) in words.enumerate().take(id.len().div_ceil(8)) {
        let own = u64::from_le_bytes(*word);
        let decimals = decimals(own);
        *kinds = ((decimals >> 7) * u64::from(DECIMAL)).to_le_bytes();
        *word = (own & !whole_bytes(decimals)).to_le_bytes();
        hexes[i / 8] |= one_bit_each(decimals | letters(own)) << (8 * (i % 8));
    }
    take_long_runs(id, runs_of_8(hexes), &mut kinds, &mut text);
    key.extend_from_slice(&kinds[..id.len()]);
    key.extend_from_slice(&text[..id.len()]);
    let count = |kind| kinds.iter().filter(|own| **own == kind).count() as u32;
    fit_in_128_bits(count(DECIMAL), count(HEX))
}

/// Whether there are digits, and all numbers of so many are below 2^128.
fn fit_in_128_bits(decimals: u32, hexes: u32) -> bool {
    let greatest = 10u128.checked_pow(decimals).map(|above| above - 1);
    decimals + hexes > 0 && greatest.is_some_and(|greatest| greatest.leading_zeros() >= 4 * hexes)
}

/// The top bit of each byte that is `0-9`.
#[inline]
fn decimals(word: u64) -> u64 {
    within(word & !TOPS, b'0', b'9') & !word
}

/// The top bit of each byte that is `a-f`.
#[inline]
fn letters(word: u64) -> u64 {
    within(word & !TOPS, b'a', b'f') & !word
}

/// All bits of the bytes whose top bits these are.
fn whole_bytes(tops: u64) -> u64 {
    (tops >> 7) * 0xff
}

/// Of 8 top bits, one bit each, the lowest byte's first.
fn one_bit_each(tops: u64) -> u64 {
    (tops >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// The places from which 8 bits on are set.
fn runs_of_8(bits: Bits) -> Bits {
    let both = |bits: Bits, apart: u32| {
        let next = |i: usize| bits.get(i + 1).map_or(0, |next| next << (64 - apart));
        std::array::from_fn(|i| bits[i] & (bits[i] >> apart | next(i)))
    };
    both(both(both(bits, 1), 2), 4)
}

/// The first place from `from` on that is set.
fn first_set(bits: &Bits, from: usize) -> Option<usize> {
    let words = bits.iter().enumerate().skip(from / 64);
    let mut left = words.map(|(i, word)| (i, if i == from / 64 { word >> (from % 64) << (from % 64) } else { *word }));
    left.find(|(_, word)| *word != 0).map(|(i, word)| 64 * i + word.trailing_zeros() as usize)
}

/// UUIDs and long runs of hexadecimal digits, where decimal digits are taken out already.
fn take_long_runs(id: &[u8], runs: Bits, kinds: &mut [u8], text: &mut [u8]) {
    let mut from = 0;
    while let Some(at) = first_set(&runs, from) {
        let mut end = hex_run_end(id, at);
        let mut is_hex = end - at >= HEX_RUN_MIN && has_letter(&id[at..end]);
        if end - at == UUID_DASHES[0] && is_uuid(id, at) {
            (end, is_hex) = (at + UUID_LENGTH, true);
        }
        for place in (at..end).filter(|place| is_hex && id[*place] != b'-') {
            (kinds[place], text[place]) = (HEX, 0);
        }
        from = end;
    }
}

fn is_hex_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn hex_run_end(id: &[u8], from: usize) -> usize {
    id[from..].iter().position(|byte| !is_hex_digit(*byte)).map_or(id.len(), |length| from + length)
}

fn has_letter(digits: &[u8]) -> bool {
    digits.iter().any(|byte| *byte >= b'a')
}

/// Whether the run of 8 hexadecimal digits at `at` begins a UUID with a letter.
fn is_uuid(id: &[u8], at: usize) -> bool {
    let Some(text) = id.get(at..at + UUID_LENGTH) else { return false };
    let is_shaped = |(place, byte): (usize, &u8)| match UUID_DASHES.contains(&place) {
        true => *byte == b'-',
        false => is_hex_digit(*byte),
    };
    text.iter().enumerate().all(is_shaped)
        && hex_run_end(id, at + UUID_DASHES[3] + 1) == at + UUID_LENGTH
        && has_letter(text)
}

impl Template {
    /// From a key that [`key_of`] wrote, or that a file holds: `None` if no string has it.
    pub(crate) fn new(key: &[u8]) -> Option<Template> {
        let length = key.len() / 2;
        let (kinds, bytes) = key.split_at(length);
        let runs = runs(kinds);
        let greatest = greatest(kinds)?;
        let is_own = key.len().is_multiple_of(2) && !runs.is_empty() && length <= LENGTH_MAX;
        let digits = runs.iter().flat_map(|run| digits(run, length)).collect();
        let template = Template {
            key: key.into(),
            length,
            words: words(kinds, bytes),
            digits,
            with_letter: with_letter(&runs),
            is_short: u64::try_from(greatest).is_ok(),
        };
        let mut again = Vec::new();
        let is_own = is_own && key_of(&template.write(greatest), &mut again) && again == key;
        is_own.then_some(template)
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Whether all its numbers have at most 64 bits.
    #[inline]
    pub(crate) fn is_short(&self) -> bool {
        self.is_short
    }

    /// The number of `id`, if this is its template.
    #[inline]
    pub(crate) fn number(&self, id: &[u8]) -> Option<u128> {
        if !self.fits(id) {
            return None;
        }
        let mut number = 0u128;
        for digits in &self.digits {
            number = number * u128::from(digits.scale) + u128::from(digits.read(id));
        }
        Some(number)
    }

    /// As [`number`](Template::number), for a short template.
    #[inline]
    pub(crate) fn short_number(&self, id: &[u8]) -> Option<u64> {
        if !self.fits(id) {
            return None;
        }
        let mut number = 0u64;
        for digits in &self.digits {
            number = number.wrapping_mul(digits.scale).wrapping_add(digits.read(id));
        }
        Some(number)
    }

    #[inline(always)]
    fn fits(&self, id: &[u8]) -> bool {
        if id.len() != self.length {
            return false;
        }
        if self.with_letter.is_empty() {
            let faults = self.words.iter().fold(0, |faults, word| faults | word.faults(load(id, word.at)));
            return faults & TOPS == 0;
        }
        let faults = self.words.iter().fold(0, |faults, word| faults | word.faults_with_hexes(load(id, word.at)));
        faults & TOPS == 0 && self.with_letter.iter().all(|(from, until)| has_letter(&id[*from..*until]))
    }

    /// The string with this number; its lowest digits, if the number is too great.
    pub(crate) fn write(&self, number: u128) -> Vec<u8> {
        let (kinds, bytes) = self.key.split_at(self.length);
        let mut id = bytes.to_vec();
        let mut left = number;
        for (byte, kind) in id.iter_mut().zip(kinds).rev() {
            let base = match *kind {
                LITERAL => continue,
                HEX => 16,
                _ => 10,
            };
            *byte = b"0123456789abcdef"[(left % base) as usize];
            left /= base;
        }
        id
    }
}

/// The 8 bytes at `at`, which are the string's; a shorter string is followed by zeros.
#[inline]
fn load(id: &[u8], at: usize) -> u64 {
    match id.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        Some(word) => u64::from_le_bytes(*word),
        None => load_short(id),
    }
}

/// A string of less than 8 bytes. Two overlapping loads, or three single bytes: no loop over what is short.
fn load_short(id: &[u8]) -> u64 {
    let length = id.len();
    if let (Some(first), Some(last)) = (id.first_chunk::<4>(), id.last_chunk::<4>()) {
        let low = u64::from(u32::from_le_bytes(*first));
        return low | u64::from(u32::from_le_bytes(*last)) << (8 * (length - 4));
    }
    match *id {
        [] => 0,
        [a] => u64::from(a),
        [a, b] => u64::from(u16::from_le_bytes([a, b])),
        [a, b, c, ..] => u64::from(u32::from_le_bytes([a, b, c, 0])),
    }
}

impl Word {
    /// The top bit is set in each byte that does not fit, where none is hexadecimal. Other bits say nothing.
    #[inline]
    fn faults(&self, word: u64) -> u64 {
        // A digit differs from `0` in its low four bits only, by its value; a byte that is greater than its bound makes the sum 128.
        let difference = word ^ self.least;
        ((difference & !TOPS) + self.slack) | difference
    }

    /// As [`faults`](Word::faults), where some may be hexadecimal.
    #[inline]
    fn faults_with_hexes(&self, word: u64) -> u64 {
        let digit = decimals(word) | letters(word);
        self.faults(word & !self.hexes) | (!digit & self.hexes)
    }
}

/// The top bit of each byte that is within the bounds; all bytes are below 128.
#[inline]
fn within(word: u64, from: u8, to: u8) -> u64 {
    let above = (word | TOPS) - ONES * u64::from(from);
    let below = ((ONES * u64::from(to)) | TOPS) - word;
    above & below & TOPS
}

impl Digits {
    #[inline]
    fn read(&self, id: &[u8]) -> u64 {
        let word = load(id, self.load_at) >> self.shift_right << self.shift_left;
        if self.is_hex { hex(word) } else { decimal(word) }
    }
}

/// The number that 8 decimal digits are, the first byte weighing most; zero bytes count as zeros. Pairs, then fours, then all
/// (Lemire, "Quickly parsing eight digits", 2022).
#[inline]
fn decimal(word: u64) -> u64 {
    let ones = word & (ONES * 0x0f);
    let pairs = (ones.wrapping_mul(10 * 256 + 1) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100 * (1 << 16) + 1) >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000 * (1 << 32) + 1) >> 32
}

/// As [`decimal`], for digits `0-9a-f`.
#[inline]
fn hex(word: u64) -> u64 {
    let ones = ((word & (ONES * 0x0f)) + ((word >> 6) & ONES) * 9).swap_bytes();
    let pairs = (ones | ones >> 4) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    (fours | fours >> 16) & 0xffff_ffff
}

/// Places side by side of one kind.
struct Run {
    kind: u8,
    from: usize,
    until: usize,
}

fn runs(kinds: &[u8]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (at, &kind) in kinds.iter().enumerate().filter(|(_, kind)| **kind != LITERAL) {
        match runs.last_mut() {
            Some(run) if run.until == at && run.kind == kind => run.until += 1,
            _ => runs.push(Run { kind, from: at, until: at + 1 }),
        }
    }
    runs
}

fn greatest(kinds: &[u8]) -> Option<u128> {
    kinds.iter().try_fold(0u128, |greatest, kind| match *kind {
        LITERAL => Some(greatest),
        DECIMAL => greatest.checked_mul(10)?.checked_add(9),
        HEX => greatest.checked_mul(16)?.checked_add(15),
        _ => None,
    })
}

fn words(kinds: &[u8], bytes: &[u8]) -> Vec<Word> {
    let last = kinds.len().saturating_sub(8);
    (0..kinds.len().div_ceil(8)).map(|i| word(kinds, bytes, (8 * i).min(last))).collect()
}

fn word(kinds: &[u8], bytes: &[u8], at: usize) -> Word {
    let mut word = Word { at, least: 0, slack: 0, hexes: 0 };
    for (i, kind) in kinds[at..].iter().take(8).enumerate() {
        let (least, slack, hex) = match *kind {
            DECIMAL => (b'0', 127 - 9, 0),
            HEX => (0, 127, 0xff),
            _ => (bytes[at + i], 127, 0),
        };
        word.least |= u64::from(least) << (8 * i);
        word.slack |= slack << (8 * i);
        word.hexes |= hex << (8 * i);
    }
    word
}

fn digits(run: &Run, length: usize) -> impl Iterator<Item = Digits> {
    let is_hex = run.kind == HEX;
    let base = if is_hex { 16u64 } else { 10 };
    (run.from..run.until).step_by(8).map(move |from| {
        let count = (run.until - from).min(8);
        let load_at = from.min(length.saturating_sub(8));
        Digits {
            load_at,
            shift_right: 8 * (from - load_at) as u32,
            shift_left: 8 * (8 - count) as u32,
            is_hex,
            scale: base.pow(count as u32),
        }
    })
}

/// UUIDs are five runs with a dash between them, and one letter is enough for all.
fn with_letter(runs: &[Run]) -> Vec<(usize, usize)> {
    let mut all = Vec::new();
    let mut runs = runs.iter().filter(|run| run.kind == HEX);
    while let Some(run) = runs.next() {
        let is_uuid = run.until - run.from == UUID_DASHES[0];
        if is_uuid {
            runs.by_ref().take(4).for_each(drop);
        }
        all.push((run.from, if is_uuid { run.from + UUID_LENGTH } else { run.until }));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(id: &str) -> Option<Template> {
        let mut key = Vec::new();
        key_of(id.as_bytes(), &mut key).then(|| Template::new(&key)).flatten()
    }

    /// As people write it: `#` for a decimal digit, `%` for a hexadecimal one.
    fn shape(id: &str) -> Option<String> {
        let template = template(id)?;
        let (kinds, bytes) = template.key().split_at(id.len());
        let places = kinds.iter().zip(bytes).map(|(kind, byte)| [*byte as char, '#', '%'][*kind as usize]);
        Some(places.collect())
    }

    #[test]
    fn digits_are_taken_out() {
        let check = |id, expected: &str| assert_eq!(shape(id).as_deref(), Some(expected), "{id}");
        check("7", "#");
        check("80000000", "########");
        check("shard-000123/doc-456", "shard-######/doc-###");
        check("face-12", "face-##");
        check("550e8400-e29b-41d4-a716-446655440000", "%%%%%%%%-%%%%-%%%%-%%%%-%%%%%%%%%%%%");
        check("<urn:uuid:550e8400-e29b-41d4-a716-446655440000>", "<urn:uuid:%%%%%%%%-%%%%-%%%%-%%%%-%%%%%%%%%%%%>");
        check("12345678-1234-1234-1234-123456789012", "########-####-####-####-############");
        check("550e8400-e29b-41d4-a716-4466554400001", "###e####-e##b-##d#-a###-#############");
        check("0550e8400-e29b-41d4-a716-446655440000", "####e####-e##b-##d#-a###-############");
        check("d41d8cd98f00b204e9800998ecf8427e", "%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%");
        check("x41d8cd98f00b204e", "x%%%%%%%%%%%%%%%%");
        check("41d8cd98f00b204", "##d#cd##f##b###");
        check("1234567890123456789", "###################");
    }

    #[test]
    fn some_strings_have_none() {
        for id in ["", "abc", "äöü", &"1".repeat(39), &"d41d8cd98f00b204".repeat(3), &"1a".repeat(129)] {
            assert_eq!(shape(id), None, "{id}");
        }
        assert!(shape(&"9".repeat(38)).is_some());
    }

    #[test]
    fn numbers_become_the_strings_again() {
        let ids = [
            "0",
            "00",
            "7",
            "007",
            "123456789",
            "shard-000123/doc-456",
            "a1b2c3d4",
            "1x",
            "x1",
            "99999999999999999999",
            "550e8400-e29b-41d4-a716-446655440000",
            "d41d8cd98f00b204e9800998ecf8427e",
            "ffffffffffffffffffffffffffffffff",
            "<urn:uuid:00000000-0000-0000-0000-00000000000a>",
            "file-1234567.parquet#12345678901234567",
            "3/1",
        ];
        for id in ids {
            let template = template(id).expect(id);
            let number = template.number(id.as_bytes()).expect(id);
            assert_eq!(template.write(number), id.as_bytes());
            if template.is_short() {
                assert_eq!(template.short_number(id.as_bytes()), Some(number as u64), "{id}");
            }
            for other in ids.iter().filter(|other| **other != id) {
                let mut key = Vec::new();
                let same = key_of(other.as_bytes(), &mut key) && key == template.key();
                assert_eq!(template.number(other.as_bytes()).is_some(), same, "{id}, {other}");
            }
        }
    }

    #[test]
    fn a_template_knows_only_its_own_strings() {
        let uuid = template("550e8400-e29b-41d4-a716-446655440000").expect("a UUID");
        assert_eq!(uuid.number(b"12345678-1234-1234-1234-123456789012"), None, "no letter: another template");
        assert_eq!(uuid.number(b"550E8400-e29b-41d4-a716-446655440000"), None);
        for id in ["row-17", "shard-000123/doc-456", "550e8400-e29b-41d4-a716-446655440000", "0-41d8cd98f00b204e/7"] {
            let template = template(id).expect("digits");
            let mut key = Vec::new();
            for (place, byte) in (0..id.len()).flat_map(|place| (0..=255).map(move |byte| (place, byte))) {
                let mut other = id.as_bytes().to_vec();
                other[place] = byte;
                let same = key_of(&other, &mut key) && key == template.key();
                assert_eq!(template.number(&other).is_some(), same, "{}", other.escape_ascii());
            }
            for other in [&id[1..], &id[..id.len() - 1], &format!("{id}1")] {
                assert_eq!(template.number(other.as_bytes()), None, "{other}");
            }
        }
    }

    #[test]
    fn keys_that_no_string_has_are_refused() {
        let own = template("a1").expect("digits").key().to_vec();
        assert_eq!(own, [0, 1, b'a', 0]);
        for key in [
            &[][..],
            &[1],
            &[0, 0, b'a', b'b'],
            &[0, 1, b'a', 1],
            &[0, 2, b'a', 0],
            &[1, 1, 0],
            &[0, 1, b'1', 0],
            &[3, 0],
        ] {
            assert!(Template::new(key).is_none(), "{key:?}");
        }
    }
}
