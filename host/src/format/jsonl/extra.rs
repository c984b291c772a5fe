//! What becomes of keys that the schema does not name.
//!
//! Those that are kept make one object a line, as they stand and where they stood: under the keys and places of lists (as
//! keys) that lead to them. `{"a": 1, "s": {"b": 2, "x": [3]}, "y": 4}` with `a` and `s.b` in the schema leaves
//! `{"s":{"x":[3]},"y":4}`. Nothing clashes, since a key on the way is in the schema, and what is kept is not.

use super::cursor::{Checked, Cursor};
use super::encode::write_string;
use super::refusal::{Reason, Refusal, Step};

/// What to do with a key that the schema does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExtraKeys {
    /// The line is refused.
    #[default]
    Refuse,
    /// The key and its value go away.
    Drop,
    /// They are kept in a json column [`EXTRA_COLUMN`].
    Keep,
}

/// The name of the column of kept keys.
pub const EXTRA_COLUMN: &str = "_extra";

/// The kept keys of one line as they come.
#[derive(Default)]
pub(super) struct Extra {
    policy: ExtraKeys,
    /// The object so far.
    text: Vec<u8>,
    /// From the line down to the value that is read.
    path: Vec<Step>,
    /// So many steps of it have their brace open in the text.
    opened: usize,
}

impl Extra {
    /// Of a line; the memory is that of an older one.
    pub(super) fn new(policy: ExtraKeys, mut memory: Vec<u8>) -> Extra {
        memory.clear();
        Extra { policy, text: memory, ..Extra::default() }
    }

    /// The object, which is empty if nothing was kept.
    pub(super) fn end(mut self) -> Vec<u8> {
        if !self.text.is_empty() {
            self.text.push(b'}');
        }
        self.text
    }

    fn keep(&mut self, key: &str, value: &[u8]) {
        if self.text.is_empty() {
            self.text.push(b'{');
        }
        for step in self.opened..self.path.len() {
            match self.path[step].clone() {
                Step::Key(key) => self.write_key(&key),
                Step::Index(index) => self.write_key(&index.to_string()),
            }
            self.text.push(b'{');
        }
        self.opened = self.path.len();
        self.write_key(key);
        self.text.extend_from_slice(value);
    }

    fn leave(&mut self) {
        self.path.pop();
        if self.opened > self.path.len() {
            self.opened = self.path.len();
            self.text.push(b'}');
        }
    }

    fn write_key(&mut self, key: &str) {
        if self.text.last() != Some(&b'{') {
            self.text.push(b',');
        }
        write_string(&mut self.text, key);
        self.text.push(b':');
    }
}

impl Cursor<'_> {
    /// The value of a key that the schema does not name.
    pub(super) fn extra(&mut self, key: &str) -> Checked {
        if self.extra.policy == ExtraKeys::Refuse {
            return Err(Refusal::new(Reason::UnknownKey));
        }
        let start = self.at();
        self.pass()?;
        if self.extra.policy == ExtraKeys::Keep {
            let value = self.since(start);
            self.extra.keep(key, value.as_bytes());
        }
        Ok(())
    }

    /// Reads a value that is one step further within.
    #[inline]
    pub(super) fn within(&mut self, step: impl Fn() -> Step, read: impl FnOnce(&mut Self) -> Checked) -> Checked {
        let is_way = self.extra.policy == ExtraKeys::Keep && matches!(self.peek(), Some(b'{' | b'['));
        if is_way {
            self.extra.path.push(step());
        }
        read(self).map_err(|refusal| refusal.within(step()))?;
        if is_way {
            self.extra.leave();
        }
        Ok(())
    }
}
