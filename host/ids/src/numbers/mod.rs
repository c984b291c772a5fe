//! Sets of numbers: `block` is the bytes of a few, `section` is a file's, `ask` brings many
//! questions into an order that memory likes, `writer` puts blocks and their records into a file.

pub(crate) mod ask;
pub(crate) mod block;
pub(crate) mod section;
pub(crate) mod writer;
