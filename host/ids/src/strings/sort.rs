//! Ids in memory, up to the budget, handed out sorted. No files here.

use crate::error::BuildError;

/// Ids in the order in which they came.
#[derive(Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

/// Where an id lies in `bytes`. Its first 8 bytes lie here too: they decide nearly all comparisons without a cache miss.
struct Span {
    first: u64,
    at: usize,
    length: usize,
}

impl Buffer {
    /// Of memory in use. Vectors that grow by doubling hold up to twice what is in them.
    pub(crate) fn bytes(&self) -> usize {
        2 * (self.bytes.len() + self.spans.len() * size_of::<Span>())
    }

    pub(crate) fn push(&mut self, id: &[u8]) {
        self.spans.push(Span { first: first_8(id), at: self.bytes.len(), length: id.len() });
        self.bytes.extend_from_slice(id);
    }

    /// Each different id once, ascending.
    pub(crate) fn for_each_sorted(
        &mut self,
        mut f: impl FnMut(&[u8]) -> Result<(), BuildError>,
    ) -> Result<(), BuildError> {
        let id = |span: &Span| &self.bytes[span.at..span.at + span.length];
        self.spans.sort_unstable_by(|a, b| a.first.cmp(&b.first).then_with(|| id(a).cmp(id(b))));
        let mut last = None;
        for id in self.spans.iter().map(id) {
            if last != Some(id) {
                f(id)?;
            }
            last = Some(id);
        }
        Ok(())
    }
}

/// The first 8 bytes, the first one weighing most; short ids are filled up with zeros. If two ids differ here, they differ the same
/// way as a whole.
fn first_8(id: &[u8]) -> u64 {
    let mut first = [0; 8];
    let length = id.len().min(8);
    first[..length].copy_from_slice(&id[..length]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_as_bytes_do_and_drops_repeats() {
        let mut buffer = Buffer::default();
        let ids: [&[u8]; 9] = [b"b", b"", b"a\0", b"a", b"abcdefgh\xff", b"abcdefgh", b"a", b"\0", b""];
        ids.iter().for_each(|id| buffer.push(id));
        let mut sorted = Vec::new();
        let collected = buffer.for_each_sorted(|id| {
            sorted.push(id.to_vec());
            Ok(())
        });
        collected.expect("nothing fails");
        let expected: std::collections::BTreeSet<Vec<u8>> = ids.iter().map(|id| id.to_vec()).collect();
        assert_eq!(sorted, Vec::from_iter(expected));
    }
}
