//! Sets of byte strings as they are: `block` front-codes some, `section` finds where one would be, `filter` knows most that are not
//! in the set, `ask` asks many; `writer` puts blocks and their index into a file; `sort` and `merge` bring strings into order in bounded
//! memory.

pub(crate) mod ask;
pub(crate) mod block;
pub(crate) mod filter;
pub(crate) mod merge;
pub(crate) mod section;
pub(crate) mod sort;
pub(crate) mod writer;

/// How many first bytes `a` and `b` have in common.
#[inline]
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let words = a.chunks_exact(8).zip(b.chunks_exact(8));
    let same = words.take_while(|(a, b)| a == b).count() * 8;
    same + a[same..].iter().zip(&b[same..]).take_while(|(a, b)| a == b).count()
}
