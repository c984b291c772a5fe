//! What stands around an entry of a log, and how it proves itself.
//!
//! Format 2, one JSON document:
//!
//! ```text
//! {
//!   "format": 2,
//!   "job": "4f0c…",                the job's name, 16 hexadecimal digits
//!   "log": "lane/3",               or "root"
//!   "number": 17,                  the entry's number in that log
//!   "below": "9a1e…" or null,      BLAKE3 of all bytes of the entry with the number before
//!   "body": { "entry": … },        what it says; see `entry.rs`
//!   "digest": "77b0…"              BLAKE3 of all bytes before this key's comma
//! }
//! ```
//!
//! The digest tells a document that was altered, `job`, `log` and `number` one that lies in another's place, `below` one
//! that was replaced by another of the same place. Format 1 is the body alone, with a key `format`: it proves nothing.
//! Formats and keys that this build does not know are a newer build's: they are refused, and nothing is done about them.

use blake3::Hash;
use bytes::Bytes;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::CommitError;

/// The format of new jobs.
pub const FORMAT: u32 = 2;
/// The format whose entries prove nothing. Its jobs go on in it until a person lifts them.
pub const FORMAT_1: u32 = 1;

/// Where an entry stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    pub(super) format: u32,
    pub(super) job: &'a str,
    /// `root` or `lane/<lane>`.
    pub(super) log: &'a str,
    pub(super) number: u64,
    /// Digest of the entry with the number before; none of the first, and above what cannot be read.
    pub(super) below: Option<Hash>,
}

/// An entry as it was read.
#[derive(Clone, Debug)]
pub(super) struct Stored<T> {
    pub(super) entry: T,
    pub(super) format: u32,
    /// Absent in format 1.
    pub(super) job: Option<String>,
    pub(super) below: Option<Hash>,
    /// Of all its bytes.
    pub(super) digest: Hash,
}

/// Why a document cannot be taken for what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// No build wrote it so.
    Damaged(String),
    /// A newer build wrote it.
    Newer(String),
}

impl Unreadable {
    /// The error of whoever cannot go on without the document.
    pub(super) fn into_error(self, name: impl ToString) -> CommitError {
        match self {
            Unreadable::Damaged(message) => CommitError::damaged(name, message),
            Unreadable::Newer(message) => CommitError::Newer { name: name.to_string(), message },
        }
    }
}

/// The bytes of an entry.
pub(super) fn encode(head: &Head, entry: &impl Serialize) -> Bytes {
    #[derive(Serialize)]
    struct Document<'a, T> {
        format: u32,
        job: &'a str,
        log: &'a str,
        number: u64,
        below: Option<String>,
        body: &'a T,
    }
    let Head { format, job, log, number, below } = *head;
    match format {
        FORMAT_1 => encode_format_1(entry),
        _ => {
            let below = below.map(|digest| digest.to_hex().to_string());
            seal(&Document { format, job, log, number, below, body: entry })
        }
    }
}

fn encode_format_1(entry: &impl Serialize) -> Bytes {
    let mut document = serde_json::to_value(entry).expect("entries are JSON");
    document.as_object_mut().expect("entries are objects").insert("format".into(), FORMAT_1.into());
    serde_json::to_vec_pretty(&document).expect("a value is JSON").into()
}

/// Reads what stands at a number of a log.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8], log: &str, number: u64) -> Result<Stored<T>, Unreadable> {
    // Nearly all are sealed, and need be looked at only once.
    let seal = Seal::of(bytes);
    if seal.is_sound
        && let Ok(document) = serde_json::from_slice::<Document<T>>(bytes)
        && document.format == FORMAT
    {
        return document.in_its_place(seal.digest, log, number);
    }
    match format_of(bytes)? {
        FORMAT_1 => {
            let entry = decode_format_1(bytes).map_err(|error| not_an_entry(&error))?;
            Ok(Stored { entry, format: FORMAT_1, job: None, below: None, digest: seal.digest })
        }
        _ => {
            unseal(bytes).map_err(Unreadable::Damaged)?;
            // It proves itself, so what this build cannot read in it is not damage.
            let read: Document<T> =
                serde_json::from_slice(bytes).map_err(|error| Unreadable::Newer(error.to_string()))?;
            read.in_its_place(seal.digest, log, number)
        }
    }
}

/// An entry with what stands around it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<T> {
    format: u32,
    job: String,
    log: String,
    number: u64,
    below: Option<String>,
    body: T,
    #[serde(rename = "digest")]
    _digest: IgnoredAny,
}

impl<T> Document<T> {
    fn in_its_place(self, digest: Hash, log: &str, number: u64) -> Result<Stored<T>, Unreadable> {
        let damaged = Unreadable::Damaged;
        if (self.log.as_str(), self.number) != (log, number) {
            return Err(damaged(format!("it is entry {} of {}, and lies in another's place", self.number, self.log)));
        }
        let below = self.below.map(|digits| Hash::from_hex(digits).map_err(|error| damaged(format!("below: {error}"))));
        Ok(Stored { entry: self.body, format: self.format, job: Some(self.job), below: below.transpose()?, digest })
    }
}

/// It may be torn or altered.
fn not_an_entry(error: &serde_json::Error) -> Unreadable {
    Unreadable::Damaged(format!("it cannot be read as an entry: {error}"))
}

/// The format that a document names, if it is one that this build reads.
fn format_of(bytes: &[u8]) -> Result<u32, Unreadable> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    if bytes.is_empty() {
        return Err(Unreadable::Damaged("it has no bytes".into()));
    }
    let named: Result<Format, _> = serde_json::from_slice(bytes);
    match named.map_err(|error| not_an_entry(&error))?.format {
        0 => Err(Unreadable::Damaged("it names format 0".into())),
        known @ (FORMAT_1 | FORMAT) => Ok(known),
        newer => {
            // A flipped bit in the format of a document of ours is no newer format.
            if has_seal(bytes) {
                unseal(bytes).map_err(Unreadable::Damaged)?;
            }
            Err(Unreadable::Newer(format!("it has format {newer}, this build knows formats {FORMAT_1} and {FORMAT}")))
        }
    }
}

fn decode_format_1<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let mut document: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes)?;
    document.remove("format");
    serde_json::from_value(document.into())
}

/// A document that is sealed and no entry of a log.
pub(super) fn decode_document<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    if format_of(bytes)? == FORMAT_1 {
        return Err(Unreadable::Damaged(format!("it has format {FORMAT_1}, which proves nothing")));
    }
    unseal(bytes).map_err(Unreadable::Damaged)?;
    let mut document = bytes[..seal_at(bytes)].to_vec();
    document.extend_from_slice(b"\n}");
    serde_json::from_slice(&document).map_err(|error| Unreadable::Newer(error.to_string()))
}

const DIGEST: &str = ",\n  \"digest\": \"";
const END: &str = "\"\n}";
const DIGITS: usize = 64;

/// A document as JSON whose last key is the digest of the bytes before it.
pub(super) fn seal(document: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec_pretty(document).expect("documents are JSON");
    text.truncate(text.len() - "\n}".len());
    let seal = seal_of(blake3::hash(&text));
    text.extend_from_slice(seal.as_bytes());
    text.into()
}

/// Whether a document is as it was sealed, to the bit.
pub(super) fn unseal(bytes: &[u8]) -> Result<(), String> {
    match Seal::of(bytes).is_sound {
        true => Ok(()),
        false => Err("its bytes are not those that its digest was taken of".into()),
    }
}

/// What the end of a document says of the rest.
struct Seal {
    is_sound: bool,
    /// Of all bytes.
    digest: Hash,
}

impl Seal {
    fn of(bytes: &[u8]) -> Seal {
        let (before, seal) = bytes.split_at(seal_at(bytes));
        let mut hasher = blake3::Hasher::new();
        let is_sound = seal_of(hasher.update(before).finalize()).as_bytes() == seal;
        Seal { is_sound, digest: hasher.update(seal).finalize() }
    }
}

/// Whether a document ends as sealed ones do.
pub(super) fn has_seal(bytes: &[u8]) -> bool {
    bytes[seal_at(bytes)..].starts_with(DIGEST.as_bytes())
}

fn seal_at(bytes: &[u8]) -> usize {
    bytes.len().saturating_sub(DIGEST.len() + DIGITS + END.len())
}

fn seal_of(before: Hash) -> String {
    format!("{DIGEST}{}{END}", before.to_hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        entry: String,
        rows: u64,
    }

    fn entry() -> Entry {
        Entry { entry: "segment".into(), rows: 7 }
    }

    fn head() -> Head<'static> {
        Head { format: FORMAT, job: "j", log: "lane/3", number: 17, below: Some(blake3::hash(b"x")) }
    }

    fn read(bytes: &[u8]) -> Result<Stored<Entry>, Unreadable> {
        decode(bytes, "lane/3", 17)
    }

    #[test]
    fn entries_come_back_in_either_format() {
        for format in [FORMAT_1, FORMAT] {
            let bytes = encode(&Head { format, ..head() }, &entry());
            let stored = read(&bytes).unwrap();
            assert_eq!((stored.entry, stored.format, stored.digest), (entry(), format, blake3::hash(&bytes)));
            assert_eq!((stored.job, stored.below).0.is_some(), format == FORMAT);
        }
    }

    #[test]
    fn every_flipped_bit_is_damage() {
        let bytes = encode(&head(), &entry());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(read(&flipped), Err(Unreadable::Damaged(_))), "bit {bit}");
        }
        (0..bytes.len()).for_each(|length| assert!(read(&bytes[..length]).is_err(), "{length} bytes"));
    }

    #[test]
    fn an_entry_of_another_place_is_damage() {
        for other in [Head { number: 16, ..head() }, Head { log: "lane/2", ..head() }] {
            let error = read(&encode(&other, &entry())).unwrap_err();
            let Unreadable::Damaged(message) = error else { panic!("{error:?}") };
            assert!(message.contains("lies in another's place"), "{message}");
        }
    }

    #[test]
    fn what_a_newer_build_wrote_is_no_damage() {
        let newer = [
            encode(&Head { format: 3, ..head() }, &entry()),
            encode(&head(), &serde_json::json!({ "entry": "segment", "rows": 7, "epoch": 1 })),
            Bytes::from_static(br#"{"format": 4, "what": "ever"}"#),
        ];
        for bytes in newer {
            assert!(matches!(read(&bytes), Err(Unreadable::Newer(_))), "{bytes:?}");
        }
    }
}
