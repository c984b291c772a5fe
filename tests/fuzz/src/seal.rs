//! Documents of format 2 prove themselves, so a change of one is found before it is read, and so is a change of what it names
//! by digest. A draft is such a document without its digest and its place, which are worked out last: a change of a draft is
//! one that whoever knows the format could have made.
//!
//! ```text
//! {"below":"@","body":{"entry":"close",...},"format":2,"job":"@","log":"@","number":"@"}
//! ```

use std::borrow::Cow;

use blake3::Hash;
use bytes::Bytes;
use serde_json::Value;

/// Where a draft is to stand.
pub(crate) struct Place<'a> {
    pub(crate) job: &'a str,
    pub(crate) log: &'a str,
    pub(crate) number: u64,
    /// Of the entry below, if there is one.
    pub(crate) below: Option<Hash>,
    /// Of the root's entries, by number.
    pub(crate) roots: &'a [Hash],
}

/// What is worked out when a draft is sealed.
const OPEN: &str = "@";

/// A sealed document as a draft. What belongs nowhere else is left as it is.
pub(crate) fn draft(document: &[u8]) -> Bytes {
    let mut document: Value = serde_json::from_slice(document).expect("the frozen job's entries are sound");
    let keys = document.as_object_mut().expect("entries are objects");
    keys.remove("digest").expect("a sealed entry");
    ["job", "log", "number"].iter().for_each(|key| keys[*key] = OPEN.into());
    [&mut document["below"]].into_iter().filter(|below| below.is_string()).for_each(|below| *below = OPEN.into());
    if let Some(digest) = document["body"].get_mut("root_digest") {
        *digest = OPEN.into();
    }
    document.to_string().into()
}

/// A draft as a document that proves itself, whatever it says.
pub(crate) fn seal(draft: &[u8], place: &Place<'_>) -> Bytes {
    let text = std::str::from_utf8(draft).map_or(Cow::Borrowed(draft), |text| placed(text, place).into_bytes().into());
    sealed(&text)
}

/// A sealed document without its seal.
pub(crate) fn opened(document: &[u8]) -> Vec<u8> {
    let mut document: Value = serde_json::from_slice(document).expect("the frozen job's documents are sound");
    document.as_object_mut().and_then(|keys| keys.remove("digest")).expect("a sealed document");
    document.to_string().into_bytes()
}

/// With its seal, whatever it is.
pub(crate) fn sealed(document: &[u8]) -> Bytes {
    let open = document.strip_suffix(b"}").unwrap_or(document);
    let digest = blake3::hash(open).to_hex();
    [open, b",\n  \"digest\": \"", digest.as_bytes(), b"\"\n}"].concat().into()
}

fn placed(draft: &str, place: &Place<'_>) -> String {
    let root = || serde_json::from_str::<Value>(draft).ok()?["body"]["root"].as_u64()?.try_into().ok();
    // One of an entry that is not there is wrong in any case.
    let root_digest = || root().and_then(|root: usize| place.roots.get(root)).copied().unwrap_or(blake3::hash(b""));
    let values: [(&str, &dyn Fn() -> String); 5] = [
        ("job", &|| format!("\"{}\"", place.job)),
        ("log", &|| format!("\"{}\"", place.log)),
        ("number", &|| place.number.to_string()),
        ("below", &|| place.below.map_or("null".into(), |digest| format!("\"{}\"", digest.to_hex()))),
        ("root_digest", &|| format!("\"{}\"", root_digest().to_hex())),
    ];
    let set = |text: String, (key, value): (&str, &dyn Fn() -> String)| {
        let open = format!("\"{key}\":\"{OPEN}\"");
        if text.contains(&open) { text.replace(&open, &format!("\"{key}\":{}", value())) } else { text }
    };
    values.into_iter().fold(draft.to_owned(), set)
}
