//! Equal things get equal numbers: a hash table over pairs of numbers, or over slices of one text, that is kept from text
//! to text so that a row costs no allocation.
//!
//! Things are compared in full; a hash only finds the candidate. The hash is seeded with a digest of the text, so that
//! nobody can write a text whose words all meet in one slot: changing a word changes every hash.

const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
const NOBODY: u32 = u32::MAX;
const SLOTS_MIN: usize = 64;
const SLOTS_EXPECTED_MAX: usize = 1 << 14;

/// Numbers for things.
#[derive(Default)]
pub(crate) struct Names<K> {
    /// Open addressing, at most half full: the number of a thing, or `NOBODY`.
    slots: Vec<u32>,
    /// The things by number, with their hashes.
    things: Vec<(u64, K)>,
}

impl<K: Copy> Names<K> {
    /// Forgets all. `expected` things can come before the table grows, if that is not very many.
    pub(crate) fn clear(&mut self, expected: usize) {
        self.things.clear();
        self.slots.clear();
        self.slots.resize((expected * 2 + 1).next_power_of_two().clamp(SLOTS_MIN, SLOTS_EXPECTED_MAX), NOBODY);
    }

    /// The number of a thing, and whether it is new.
    pub(crate) fn number(&mut self, hash: u64, key: K, is_same: impl Fn(K, K) -> bool) -> (u32, bool) {
        if self.things.len() * 2 >= self.slots.len() {
            self.grow();
        }
        let mut slot = self.slot(hash);
        loop {
            match self.slots[slot] {
                NOBODY => break,
                number => {
                    let (known_hash, known) = self.things[number as usize];
                    if known_hash == hash && is_same(known, key) {
                        return (number, false);
                    }
                }
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        let number = self.things.len() as u32;
        self.slots[slot] = number;
        self.things.push((hash, key));
        (number, true)
    }

    // The upper bits of a product are its best.
    fn slot(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.slots.len() - 1)
    }

    fn grow(&mut self) {
        let slots = self.slots.len() * 4;
        self.slots.clear();
        self.slots.resize(slots, NOBODY);
        for number in 0..self.things.len() {
            let mut slot = self.slot(self.things[number].0);
            while self.slots[slot] != NOBODY {
                slot = (slot + 1) & (slots - 1);
            }
            self.slots[slot] = number as u32;
        }
    }

    /// Gives memory back after a very large text.
    pub(crate) fn shrink_to(&mut self, things: usize) {
        self.clear(0);
        self.things.shrink_to(things);
        self.slots.shrink_to(things * 4);
    }
}

/// A hash of bytes: eight at a time, multiplied and mixed.
pub(crate) fn hash_bytes(bytes: &[u8], seed: u64) -> u64 {
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(MULTIPLIER);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = mix(hash ^ u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(hash ^ u64::from_le_bytes(last))
}

/// A hash of two numbers.
pub(crate) fn hash_pair(pair: (u32, u32), seed: u64) -> u64 {
    mix(mix(u64::from(pair.0) << 32 | u64::from(pair.1)) ^ seed)
}

fn mix(value: u64) -> u64 {
    let product = (value ^ (value >> 32)).wrapping_mul(MULTIPLIER);
    (product ^ (product >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_things_have_equal_numbers() {
        let words: Vec<String> = (0..5000).map(|n| format!("{}", n * n % 1009)).collect();
        let mut known: Vec<&str> = Vec::new();
        let mut names = Names::default();
        names.clear(0);
        for word in &words {
            let expected = known.iter().position(|known| known == word);
            let (number, is_new) = names.number(hash_bytes(word.as_bytes(), 3), word.as_str(), |a, b| a == b);
            assert_eq!((number as usize, is_new), (expected.unwrap_or(known.len()), expected.is_none()));
            if is_new {
                known.push(word);
            }
        }
    }

    #[test]
    fn equal_hashes_are_not_equal_things() {
        let mut names = Names::default();
        names.clear(0);
        let mut number = |key: u32| names.number(7, key, |a, b| a == b);
        assert_eq!([number(1), number(2), number(1)], [(0, true), (1, true), (0, false)]);
    }

    #[test]
    fn hashes_tell_bytes_apart() {
        let all: Vec<Vec<u8>> = (0..20).flat_map(|length| [vec![0; length], vec![1; length]]).skip(1).collect();
        for (n, a) in all.iter().enumerate() {
            assert!(all[n + 1..].iter().all(|b| hash_bytes(a, 1) != hash_bytes(b, 1)), "{a:?}");
            assert_ne!(hash_bytes(a, 1), hash_bytes(a, 2));
        }
    }
}
