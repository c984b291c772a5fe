//! Bits that are appended one by one, 64 to a word. What is being filled stays in a register.

use arrow_buffer::{BooleanBuffer, Buffer};

/// A bitmap in the making, least significant bit first.
#[derive(Debug)]
pub struct Bits {
    words: Vec<u64>,
    word: u64,
    length: usize,
}

impl Bits {
    pub(super) fn with_capacity(bits: usize) -> Self {
        Self { words: Vec::with_capacity(bits.div_ceil(64)), word: 0, length: 0 }
    }

    #[inline(always)]
    pub(super) fn append(&mut self, bit: bool) {
        self.word |= u64::from(bit) << (self.length % 64);
        self.length += 1;
        if self.length.is_multiple_of(64) {
            self.words.push(self.word);
            self.word = 0;
        }
    }

    pub(super) fn finish(mut self) -> BooleanBuffer {
        if !self.length.is_multiple_of(64) {
            self.words.push(self.word);
        }
        // Bytes of a word stand in the order of a bitmap's.
        self.words.iter_mut().for_each(|word| *word = word.to_le());
        BooleanBuffer::new(Buffer::from_vec(self.words), 0, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_bits_as_were_appended() {
        for length in [0, 1, 63, 64, 65, 128, 1000] {
            let mut bits = Bits::with_capacity(length / 2);
            (0..length).for_each(|bit| bits.append(bit % 3 == 0));
            assert_eq!(bits.finish(), BooleanBuffer::collect_bool(length, |bit| bit % 3 == 0));
        }
    }
}
