//! Ids of six kinds, computed from their number. Numbers below the size of the set are in it; as many from there on are not.

use wasmpipe_ids::Column;

/// Ids in a column.
pub(crate) const COLUMN: u64 = 64 << 10;
/// Hosts that URLs are spread over.
pub(crate) const HOSTS: u64 = 5000;
const URL_BYTES: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 0, 1, 2 ..
    Sequential,
    /// 64 bits.
    Random,
    /// The same as `Sequential`, as decimal text.
    Text,
    /// `shard-000123/doc-456`.
    Shard,
    /// Random, with version and variant set.
    Uuid,
    /// Of 200 bytes.
    Url,
}

/// Ids as their owner has them in memory.
#[derive(Debug, Clone)]
pub(crate) enum Owned {
    Numbers(Vec<u64>),
    Strings { offsets: Vec<i32>, bytes: Vec<u8> },
}

impl Kind {
    pub(crate) const ALL: [Kind; 6] = [Kind::Sequential, Kind::Random, Kind::Text, Kind::Shard, Kind::Uuid, Kind::Url];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Sequential => "sequential",
            Kind::Random => "random",
            Kind::Text => "text",
            Kind::Shard => "shard",
            Kind::Uuid => "uuid",
            Kind::Url => "url",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Of the longest id.
    pub(crate) fn bytes_max(self) -> usize {
        match self {
            Kind::Sequential | Kind::Random => 8,
            Kind::Text => 9,
            Kind::Shard => 20,
            Kind::Uuid => 36,
            Kind::Url => URL_BYTES,
        }
    }

    pub(crate) fn is_number(self) -> bool {
        matches!(self, Kind::Sequential | Kind::Random)
    }

    /// Whether ids have their number's order; of the others a source in order of its ids has a random choice.
    pub(crate) fn is_ordered(self) -> bool {
        matches!(self, Kind::Sequential | Kind::Text | Kind::Shard)
    }

    pub(crate) fn column(self, numbers: impl Iterator<Item = u64>) -> Owned {
        let mut owned = Owned::empty(self.is_number());
        self.fill(numbers, &mut owned);
        owned
    }

    /// Puts other ids in place of those of a column.
    pub(crate) fn fill(self, numbers: impl Iterator<Item = u64>, owned: &mut Owned) {
        owned.clear();
        match owned {
            Owned::Numbers(ids) if self == Kind::Random => ids.extend(numbers.map(mix)),
            Owned::Numbers(ids) => ids.extend(numbers),
            Owned::Strings { offsets, bytes } => {
                for number in numbers {
                    self.write(number, bytes);
                    offsets.push(i32::try_from(bytes.len()).expect("a column is small"));
                }
            }
        }
    }

    fn write(self, number: u64, out: &mut Vec<u8>) {
        match self {
            Kind::Sequential | Kind::Random => unreachable!("these are no strings"),
            Kind::Text => decimal(number, 1, out),
            Kind::Shard => {
                out.extend_from_slice(b"shard-");
                decimal(number / 1000, 6, out);
                out.extend_from_slice(b"/doc-");
                decimal(number % 1000, 1, out);
            }
            Kind::Uuid => uuid(number, out),
            Kind::Url => url(number, out),
        }
    }

    /// Of random kinds: sorts as the ids do.
    pub(crate) fn key(self, number: u64) -> u64 {
        match self {
            // The version is the same for all.
            Kind::Uuid => mix(number) & !0xf000,
            _ => mix(number),
        }
    }
}

impl Owned {
    pub(crate) fn empty(is_number: bool) -> Owned {
        if is_number { Owned::Numbers(Vec::new()) } else { Owned::Strings { offsets: vec![0], bytes: Vec::new() } }
    }

    fn clear(&mut self) {
        match self {
            Owned::Numbers(numbers) => numbers.clear(),
            Owned::Strings { offsets, bytes } => {
                offsets.truncate(1);
                bytes.clear();
            }
        }
    }

    pub(crate) fn column(&self) -> Column<'_> {
        match self {
            Owned::Numbers(numbers) => Column::Numbers(numbers),
            Owned::Strings { offsets, bytes } => Column::strings(offsets, bytes),
        }
    }

    pub(crate) fn strings<'a>(offsets: &'a [i32], bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        offsets.windows(2).map(move |ends| &bytes[ends[0] as usize..ends[1] as usize])
    }

    /// Numbers as 8 bytes, which sort as they do.
    pub(crate) fn into_strings(self) -> Owned {
        match self {
            Owned::Numbers(numbers) => Owned::Strings {
                offsets: (0..=numbers.len()).map(|i| i32::try_from(8 * i).expect("a column is small")).collect(),
                bytes: numbers.iter().flat_map(|number| number.to_be_bytes()).collect(),
            },
            strings @ Owned::Strings { .. } => strings,
        }
    }

    /// What it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Owned::Numbers(numbers) => 8 * numbers.capacity(),
            Owned::Strings { offsets, bytes } => 4 * offsets.capacity() + bytes.capacity(),
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): different for different numbers.
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A permutation of `0..count`: a Feistel network over as many bits as it takes, again while it leads outside.
pub(crate) fn permuted(count: u64, number: u64) -> u64 {
    let half = (64 - (count - 1).leading_zeros()).div_ceil(2).max(1);
    let mask = (1u64 << half) - 1;
    let mut at = number;
    loop {
        let (mut left, mut right) = (at >> half, at & mask);
        for round in 0..3u64 {
            (left, right) = (right, left ^ (mix(right ^ (round << 40)) & mask));
        }
        at = left << half | right;
        if at < count {
            return at;
        }
    }
}

fn decimal(mut number: u64, digits_min: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while number > 0 || digits.len() - at < digits_min {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[at..]);
}

fn uuid(number: u64, out: &mut Vec<u8>) {
    let (high, low) = (mix(number), mix(number ^ 0xabcd_ef01_2345_6789));
    let high = high & !0xf000 | 0x4000;
    let low = low >> 2 | 1 << 63;
    let both = u128::from(high) << 64 | u128::from(low);
    let mut shift = 128;
    for length in [8, 4, 4, 4, 12] {
        for _ in 0..length {
            shift -= 4;
            out.push(b"0123456789abcdef"[(both >> shift) as usize & 15]);
        }
        if shift > 0 {
            out.push(b'-');
        }
    }
}

fn url(number: u64, out: &mut Vec<u8>) {
    const WORDS: [&str; 8] = ["alpha", "beta", "gamma", "delta", "omega", "news", "story", "page"];
    let end = out.len() + URL_BYTES;
    out.extend_from_slice(b"https://www.example-");
    decimal(number % HOSTS, 1, out);
    out.extend_from_slice(b".org/");
    let mut state = number;
    while out.len() + 16 < end {
        state = mix(state);
        out.extend_from_slice(WORDS[(state % 8) as usize].as_bytes());
        out.push(b'-');
    }
    out.truncate(end - 16);
    decimal(mix(number) % 10_u64.pow(16), 16, out);
}
