//! The keys of an object that a schema names, each with its column.

use std::borrow::Cow;
use std::collections::HashMap;

use arrow::array::ArrayRef;
use arrow::datatypes::Fields;

use super::builders::{Builder, Passed, builder, read_or_null};
use super::cursor::{Checked, Cursor, Keys};
use super::refusal::{Reason, Refusal, Step};

/// Members of more objects than this are looked up by their names' hashes.
const COMPARED_MAX: usize = 8;

/// Columns by key.
pub(super) struct Members {
    members: Vec<Member>,
    by_name: HashMap<String, usize>,
    /// The number of the object that is read.
    object: u64,
}

struct Member {
    name: String,
    /// The name in quotes, if it stands so in a line.
    plain: Option<Vec<u8>>,
    is_nullable: bool,
    is_passed: bool,
    column: Box<dyn Builder>,
    /// The last object that had it.
    seen_in: u64,
}

impl Members {
    /// None if a type is none that a text can be.
    pub(super) fn new(fields: &Fields) -> Option<Members> {
        Members::of(fields, |_| true)
    }

    /// The same, with columns for some of them only. The others' values are checked, but not against their types.
    pub(super) fn of(fields: &Fields, is_wanted: impl Fn(usize) -> bool) -> Option<Members> {
        let member = |(place, field): (usize, &arrow::datatypes::FieldRef)| {
            let column = builder(field)?;
            let column = if is_wanted(place) { column } else { Box::new(Passed) };
            let (name, is_nullable) = (field.name().clone(), field.is_nullable());
            let plain = is_plain(&name).then(|| [b"\"", name.as_bytes(), b"\""].concat());
            Some(Member { name, plain, is_nullable, is_passed: !is_wanted(place), column, seen_in: 0 })
        };
        let members: Vec<Member> = fields.iter().enumerate().map(member).collect::<Option<_>>()?;
        let by_name = members.iter().enumerate().map(|(place, member)| (member.name.clone(), place)).collect();
        Some(Members { members, by_name, object: 0 })
    }

    /// Reads an object, whose opening brace stands here, into one more value of each column.
    pub(super) fn read(&mut self, text: &mut Cursor<'_>) -> Checked {
        self.object += 1;
        let (mut next, mut found, mut unknown) = (0, 0, Keys::default());
        text.object(|text| {
            let Some(place) = self.place(text, next, &mut unknown)? else { return Ok(()) };
            (next, found) = (place + 1, found + 1);
            self.members[place].read(self.object, text)
        })?;
        if found < self.members.len() { self.fill() } else { Ok(()) }
    }

    /// The member whose value stands here now. The value of an unknown key is dealt with.
    #[inline]
    fn place<'a>(&self, text: &mut Cursor<'a>, next: usize, unknown: &mut Keys<'a>) -> Checked<Option<usize>> {
        // Most lines have their keys in the order of the schema.
        let expected = self.members.get(next).and_then(|member| member.plain.as_ref());
        if expected.is_some_and(|plain| text.skip(plain)) {
            text.colon()?;
            return Ok(Some(next));
        }
        let key = text.key()?;
        match self.find(&key) {
            Some(place) => Ok(Some(place)),
            None => read_unknown(text, key, unknown).map(|()| None),
        }
    }

    fn find(&self, key: &str) -> Option<usize> {
        match self.members.len() {
            0..=COMPARED_MAX => self.members.iter().position(|member| member.name == key),
            _ => self.by_name.get(key).copied(),
        }
    }

    /// Keys that the object does not have are null.
    fn fill(&mut self) -> Checked {
        let object = self.object;
        for member in self.members.iter_mut().filter(|member| member.seen_in != object) {
            if !member.is_nullable && !member.is_passed {
                return Err(Refusal::new(Reason::Null).within_key(&member.name));
            }
            member.column.push_null();
        }
        Ok(())
    }

    pub(super) fn push_null(&mut self) {
        self.members.iter_mut().for_each(|member| member.column.push_null());
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.members.iter_mut().for_each(|member| member.column.truncate(len));
    }

    /// The columns that are wanted, in order.
    pub(super) fn finish(&mut self) -> Vec<ArrayRef> {
        let wanted = self.members.iter_mut().filter(|member| !member.is_passed);
        wanted.map(|member| member.column.finish()).collect()
    }

    pub(super) fn bytes(&self) -> usize {
        self.members.iter().map(|member| member.column.bytes()).sum()
    }
}

impl Member {
    #[inline]
    fn read(&mut self, object: u64, text: &mut Cursor<'_>) -> Checked {
        if self.seen_in == object {
            return Err(Refusal::new(Reason::DuplicateKey).within_key(&self.name));
        }
        self.seen_in = object;
        let (name, column, is_nullable) = (&self.name, self.column.as_mut(), self.is_nullable || self.is_passed);
        text.within(|| Step::Key(name.clone()), |text| read_or_null(column, is_nullable, text))
    }
}

/// The value of a key that the schema does not name.
fn read_unknown<'a>(text: &mut Cursor<'a>, key: Cow<'a, str>, unknown: &mut Keys<'a>) -> Checked {
    let told = unknown.add(key.clone()).and_then(|()| text.extra(&key));
    told.map_err(|refusal| refusal.within_key(&key))
}

/// Whether a name stands in a line as it is.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\')
}
