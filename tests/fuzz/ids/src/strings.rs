//! Byte strings, one behind the other, as a column has them.

use wasmpipe_ids::Column;

pub(crate) struct Strings {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

impl Strings {
    pub(crate) fn new<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> Strings {
        let (mut offsets, mut bytes) = (vec![0], Vec::new());
        for string in strings {
            bytes.extend_from_slice(string.as_ref());
            offsets.push(i32::try_from(bytes.len()).expect("inputs are small"));
        }
        Strings { offsets, bytes }
    }

    pub(crate) fn text(&self) -> Column<'_> {
        Column::strings(&self.offsets, &self.bytes)
    }

    pub(crate) fn binary(&self) -> Column<'_> {
        self.text().into_binary()
    }
}
