//! Ids in memory: numbers by class, and strings. No files here.

use std::thread;

use crate::number::Number;
use crate::numbers::block::{BlockWriter, Blocks, STRETCH_MIN};
use crate::strings::sort::Buffer;

/// Classes: numbers that are ids themselves, wide ones, and those of each template.
pub(super) const NUMBERS: usize = 0;
pub(super) const WIDE_NUMBERS: usize = 1;
pub(super) const TEMPLATES: usize = 2;

/// Numbers that are looked at together.
const APART_MAX: usize = 1024;
/// Fewer are sorted by one thread.
const NUMBERS_PER_THREAD_MIN: usize = 64 << 10;

#[derive(Default)]
pub(super) struct Chunk {
    classes: Vec<Class>,
    strings: Buffer,
    number_bytes: usize,
}

/// One of the two is used.
#[derive(Default)]
pub(super) struct Class {
    pub(super) short: Numbers<u64>,
    pub(super) wide: Numbers<u128>,
}

/// Numbers as they came. Stretches of consecutive ones, which is how many sources number their rows, are two numbers.
#[derive(Debug)]
pub(super) struct Numbers<N> {
    pub(super) single: Vec<N>,
    pub(super) stretches: Vec<(N, N)>,
}

impl<N> Default for Numbers<N> {
    fn default() -> Numbers<N> {
        Numbers { single: Vec::new(), stretches: Vec::new() }
    }
}

impl Chunk {
    pub(super) fn bytes(&self) -> usize {
        self.number_bytes + self.strings.bytes()
    }

    pub(super) fn push<N: Width>(&mut self, class: usize, numbers: &[N]) {
        if numbers.is_empty() {
            return;
        }
        if self.classes.len() <= class {
            self.classes.resize_with(class + 1, Class::default);
            self.number_bytes = self.classes.iter().map(Class::bytes).sum();
        }
        let own = N::numbers(&mut self.classes[class]);
        self.number_bytes -= own.bytes();
        own.extend(numbers);
        self.number_bytes += own.bytes();
    }

    pub(super) fn push_string(&mut self, id: &[u8]) {
        self.strings.push(id);
    }

    pub(super) fn into_parts(self) -> (Vec<Class>, Buffer) {
        (self.classes, self.strings)
    }
}

impl Class {
    fn bytes(&self) -> usize {
        size_of::<Class>() + self.short.bytes() + self.wide.bytes()
    }
}

impl<N: Number> Numbers<N> {
    pub(super) fn bytes(&self) -> usize {
        self.single.capacity() * N::BYTES + self.stretches.capacity() * 2 * N::BYTES
    }

    pub(super) fn count(&self) -> u64 {
        let stretches = self.stretches.iter().map(|(first, last)| last.minus(*first).to_u128() as u64 + 1);
        self.single.len() as u64 + stretches.sum::<u64>()
    }

    fn extend(&mut self, numbers: &[N]) {
        // Vectors that double would leave up to half of the budget empty.
        if self.single.capacity() - self.single.len() < numbers.len() {
            self.single.reserve_exact(numbers.len() + self.single.len() / 8);
        }
        let (mut taken, mut at) = (0, 0);
        while at < numbers.len() {
            let length = stretch_length(&numbers[at..]);
            if length < STRETCH_MIN {
                at += 1;
                continue;
            }
            self.single.extend_from_slice(&numbers[taken..at]);
            self.push_stretch(numbers[at], numbers[at + length - 1]);
            at += length;
            taken = at;
        }
        self.single.extend_from_slice(&numbers[taken..]);
    }

    fn push_stretch(&mut self, first: N, last: N) {
        match self.stretches.last_mut() {
            Some((_, before)) if before.next() == Some(first) => *before = last,
            _ => self.stretches.push((first, last)),
        }
    }

    /// Sorts what came in any order.
    pub(super) fn sort(&mut self, threads: usize) {
        sort(&mut self.single, threads);
        self.stretches.sort_unstable();
    }

    /// Sorts what is made of ascending parts, one from each run. The stable sort finds them.
    pub(super) fn sort_parts(&mut self) {
        self.single.sort();
        self.stretches.sort();
    }

    /// Cuts what is sorted into blocks; `f` gets them when there are many.
    pub(super) fn cut<E>(self, mut f: impl FnMut(Blocks<N>) -> Result<(), E>) -> Result<(), E> {
        let mut writer = BlockWriter::new();
        let mut union = Union { single: &self.single, stretches: &self.stretches };
        loop {
            let apart = union.apart();
            writer.push_apart(apart);
            match union.next() {
                Some((first, last)) => writer.push(first, last),
                None if apart.is_empty() => break,
                None => {}
            }
            writer.take_many().map_or(Ok(()), &mut f)?;
        }
        f(writer.finish())
    }
}

/// Halves around the median are sorted side by side.
fn sort<N: Number>(numbers: &mut [N], threads: usize) {
    if threads < 2 || numbers.len() < NUMBERS_PER_THREAD_MIN {
        return numbers.sort_unstable();
    }
    let (low, _, high) = numbers.select_nth_unstable(numbers.len() / 2);
    let has_helper = thread::scope(|scope| {
        let helper = thread::Builder::new().spawn_scoped(scope, || sort(low, threads / 2));
        sort(high, threads - threads / 2);
        helper.is_ok()
    });
    if !has_helper {
        numbers.sort_unstable();
    }
}

/// How many numbers from the first on are each one more than the one before; 0 if that is soon seen to be fewer than `STRETCH_MIN`.
#[inline]
fn stretch_length<N: Number>(numbers: &[N]) -> usize {
    let is_likely =
        numbers.get(STRETCH_MIN - 1).is_some_and(|last| last.minus(numbers[0]).to_u128() == STRETCH_MIN as u128 - 1);
    if !is_likely {
        return 0;
    }
    1 + numbers.windows(2).take_while(|pair| pair[0].next() == Some(pair[1])).count()
}

/// Ascending stretches, as long as can be, of sorted numbers and stretches.
struct Union<'a, N> {
    single: &'a [N],
    stretches: &'a [(N, N)],
}

impl<'a, N: Number> Union<'a, N> {
    /// Some numbers before the next stretch, of which none is one more than the one before, as nearly all are in many sets.
    fn apart(&mut self) -> &'a [N] {
        let some = &self.single[..self.single.len().min(APART_MAX)];
        let stretch = self.stretches.first().map_or(N::MAX, |(first, _)| *first);
        let is_near = |pair: &[N]| pair[0].next().is_none_or(|next| next >= pair[1]) || pair[1] >= stretch;
        let count = some.windows(2).position(is_near).unwrap_or(some.len().saturating_sub(1));
        let (apart, rest) = self.single.split_at(count);
        self.single = rest;
        apart
    }

    #[inline]
    fn next(&mut self) -> Option<(N, N)> {
        let (first, mut last) = self.smallest()?;
        loop {
            let end = last.next().unwrap_or(last);
            match (self.single.first(), self.stretches.first()) {
                (Some(number), _) if *number <= end => {
                    last = last.max(*number);
                    self.single = &self.single[1..];
                }
                (_, Some((from, until))) if *from <= end => {
                    last = last.max(*until);
                    self.stretches = &self.stretches[1..];
                }
                _ => return Some((first, last)),
            }
        }
    }

    #[inline]
    fn smallest(&mut self) -> Option<(N, N)> {
        match (self.single.first(), self.stretches.first()) {
            (Some(number), stretch) if stretch.is_none_or(|(first, _)| number <= first) => {
                self.single = &self.single[1..];
                Some((*number, *number))
            }
            (_, Some(stretch)) => {
                self.stretches = &self.stretches[1..];
                Some(*stretch)
            }
            _ => None,
        }
    }
}

/// Where a class keeps numbers of this width.
pub(super) trait Width: Number {
    fn numbers(class: &mut Class) -> &mut Numbers<Self>;
}

impl Width for u64 {
    fn numbers(class: &mut Class) -> &mut Numbers<u64> {
        &mut class.short
    }
}

impl Width for u128 {
    fn numbers(class: &mut Class) -> &mut Numbers<u128> {
        &mut class.wide
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(numbers: &[&[u64]]) -> Vec<(u64, u64)> {
        let mut all = Numbers::default();
        numbers.iter().for_each(|numbers| all.extend(numbers));
        all.single.sort_unstable();
        all.stretches.sort_unstable();
        let mut union = Union { single: &all.single, stretches: &all.stretches };
        std::iter::from_fn(|| union.next()).collect()
    }

    #[test]
    fn stretches_are_found_and_united() {
        let hundred: Vec<u64> = (100..200).collect();
        assert_eq!(
            sorted(&[&[7, 5, 7, 6], &hundred, &hundred[..70], &[200, 99, 205]]),
            [(5, 7), (99, 200), (205, 205)]
        );
        let ends: Vec<u64> = (u64::MAX - 99..=u64::MAX).collect();
        assert_eq!(sorted(&[&ends, &[0, u64::MAX, 0], &ends]), [(0, 0), (u64::MAX - 99, u64::MAX)]);
        let mut union = Union { single: &[1u64, 5, 99, 250], stretches: &[(100, 199)] };
        assert_eq!((union.apart(), union.next()), ([1, 5].as_slice(), Some((99, 199))), "99 belongs to the stretch");
        assert_eq!((union.apart(), union.next()), ([].as_slice(), Some((250, 250))));
        let mut all = Numbers::default();
        all.extend(&hundred);
        all.extend(&hundred[..63]);
        assert_eq!((all.stretches, all.single.len()), (vec![(100, 199)], 63));
    }
}
