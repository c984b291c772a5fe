//! [`Number`]: what blocks of numbers need of `u64` and `u128`.

use std::fmt::Debug;

/// An unsigned integer of 8 or 16 bytes.
pub(crate) trait Number: Copy + Ord + Debug + Default + Send + Sync + 'static {
    const BYTES: usize;
    const MAX: Self;

    fn from_u128(number: u128) -> Self;
    fn to_u128(self) -> u128;
    /// How many low bits hold the number; 0 for 0.
    fn bits(self) -> u32;
    fn minus(self, other: Self) -> Self;
    /// Wraps around.
    fn plus(self, other: Self) -> Self;
    fn next(self) -> Option<Self>;
    /// Calls `f` with each number from this one to `last`.
    #[inline]
    fn each_to(self, last: Self, mut f: impl FnMut(Self)) {
        let mut number = self;
        loop {
            f(number);
            match number.next() {
                Some(next) if number < last => number = next,
                _ => return,
            }
        }
    }
    fn before(self) -> Option<Self>;
    /// `self >> bits`, 0 if that is all of them; the greatest `usize` if it is more than that.
    fn high(self, bits: u32) -> usize;
    /// `high << bits`, 0 if that is all of them.
    fn from_high(high: usize, bits: u32) -> Self;
    /// The lowest `bits` bits.
    fn low(self, bits: u32) -> Self;
    fn write(self, out: &mut Vec<u8>);
    /// Over the first `BYTES` bytes, little endian.
    fn put(self, out: &mut [u8]);
    /// Of the first `BYTES` bytes at `at`, little endian.
    fn read(bytes: &[u8], at: usize) -> Option<Self>;
}

macro_rules! number {
    ($type:ty) => {
        impl Number for $type {
            const BYTES: usize = size_of::<$type>();
            const MAX: Self = <$type>::MAX;

            #[inline]
            fn from_u128(number: u128) -> Self {
                number as $type
            }

            #[inline]
            fn to_u128(self) -> u128 {
                self as u128
            }

            #[inline]
            fn bits(self) -> u32 {
                <$type>::BITS - self.leading_zeros()
            }

            #[inline]
            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }

            #[inline]
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            #[inline]
            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }

            #[inline]
            fn before(self) -> Option<Self> {
                self.checked_sub(1)
            }

            #[inline]
            fn high(self, bits: u32) -> usize {
                usize::try_from(self.checked_shr(bits).unwrap_or(0)).unwrap_or(usize::MAX)
            }

            #[inline]
            fn from_high(high: usize, bits: u32) -> Self {
                (high as $type).checked_shl(bits).unwrap_or(0)
            }

            #[inline]
            fn low(self, bits: u32) -> Self {
                if bits == 0 { 0 } else { self & (<$type>::MAX >> (<$type>::BITS - bits)) }
            }

            fn write(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            #[inline]
            fn put(self, out: &mut [u8]) {
                out[..Self::BYTES].copy_from_slice(&self.to_le_bytes());
            }

            #[inline]
            fn read(bytes: &[u8], at: usize) -> Option<Self> {
                let bytes = bytes.get(at..)?.first_chunk::<{ size_of::<$type>() }>()?;
                Some(<$type>::from_le_bytes(*bytes))
            }
        }
    };
}

number!(u64);
number!(u128);
