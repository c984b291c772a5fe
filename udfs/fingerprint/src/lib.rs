//! `fingerprint`: 128 bits that two texts share if, and practically only if, they are the same after normalisation.
//!
//! It finds nothing by itself. Removing duplicates is a group-by over all rows, which wasmpipe does not do: add the
//! fingerprint here, then keep one row per fingerprint in whatever engine holds the output, such as
//! `SELECT ... FROM 'out/*.parquet' QUALIFY row_number() OVER (PARTITION BY fingerprint ORDER BY id) = 1`.
//!
//! ```text
//! text -> words (runs without Unicode White_Space), joined by one space -> lower case, if asked -> XXH3-128, big endian
//! ```
//!
//! XXH3-128 (xxHash 0.8, Y. Collet) is fast, fixed for good, and spread evenly: among n different texts the chance of any
//! collision is about n^2 / 2^129, so 10^-17 for 10^11 texts. It has no secret: someone who sets out to write two texts
//! with one fingerprint can. No canonical composition (NFC) is done: that needs tables larger than this component.

use std::cell::RefCell;

use schemars::JsonSchema;
use serde::Deserialize;
use wasmpipe_sdk::map;
use wasmpipe_sdk::text::words;
use xxhash_rust::xxh3::xxh3_128;

/// The config of [`fingerprint`] and [`fingerprint_hex`].
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Normalisation {
    /// Whether texts that differ in upper and lower case only are the same.
    pub fold_case: bool,
    /// Whether white space counts as it is. Unless it does, any run of it is one space, and none counts at the ends.
    pub keep_space: bool,
}

/// The 128-bit fingerprint of a text, as 16 bytes.
///
/// Two texts have the same fingerprint if they have the same words (runs without Unicode white space) in the same order;
/// with `fold_case = true` also if these differ in case only; with `keep_space = true` only if their white space is the
/// same. XXH3-128 of the normalised UTF-8 text, big endian. A null text has a null fingerprint.
#[map]
pub fn fingerprint(text: Option<&str>, #[config] config: &Normalisation) -> Option<[u8; 16]> {
    text.map(|text| hash(text, config).to_be_bytes())
}

/// The 128-bit fingerprint of a text, as 32 lower-case hexadecimal digits: `fingerprint`, for those who read it.
#[map]
pub fn fingerprint_hex(text: Option<&str>, #[config] config: &Normalisation) -> Option<String> {
    text.map(|text| format!("{:032x}", hash(text, config)))
}

wasmpipe_sdk::export!(fingerprint, fingerprint_hex);

thread_local! {
    // The normalised text, kept so that a row costs no allocation.
    static NORMALISED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The buffer is given back after a text larger than this.
const BUFFER_BYTES_MAX: usize = 16 << 20;

fn hash(text: &str, config: &Normalisation) -> u128 {
    if config.keep_space && !config.fold_case {
        return xxh3_128(text.as_bytes());
    }
    NORMALISED.with_borrow_mut(|buffer| {
        buffer.clear();
        normalise(text, config, buffer);
        let hash = xxh3_128(buffer);
        buffer.shrink_to(BUFFER_BYTES_MAX);
        hash
    })
}

fn normalise(text: &str, config: &Normalisation, buffer: &mut Vec<u8>) {
    if text.is_ascii() && !config.keep_space {
        return push_ascii_words(buffer, text.as_bytes(), config.fold_case);
    }
    let push = if config.fold_case { push_folded } else { push_as_is };
    if config.keep_space {
        return push(buffer, text);
    }
    for word in words(text) {
        if !buffer.is_empty() {
            buffer.push(b' ');
        }
        push(buffer, word);
    }
}

// Byte by byte without a branch that depends on the text: the ends of words are what nobody can predict.
fn push_ascii_words(buffer: &mut Vec<u8>, text: &[u8], fold_case: bool) {
    buffer.resize(text.len(), 0);
    let case_bit = u8::from(fold_case) << 5;
    let (mut length, mut is_after_space) = (0, true);
    for byte in text {
        let is_space = matches!(byte, b' ' | b'\t'..=b'\r');
        let folded = byte | (u8::from(byte.is_ascii_uppercase()) * case_bit);
        buffer[length] = if is_space { b' ' } else { folded };
        length += usize::from(!(is_space && is_after_space));
        is_after_space = is_space;
    }
    buffer.truncate(length - usize::from(is_after_space && length > 0));
}

fn push_as_is(buffer: &mut Vec<u8>, text: &str) {
    buffer.extend_from_slice(text.as_bytes());
}

// Character by character, without the context rule for the Greek final sigma: equal texts stay equal.
fn push_folded(buffer: &mut Vec<u8>, text: &str) {
    if text.is_ascii() {
        return buffer.extend(text.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
    for c in text.chars().flat_map(char::to_lowercase) {
        buffer.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AS_IS: Normalisation = Normalisation { fold_case: false, keep_space: true };
    const WORDS: Normalisation = Normalisation { fold_case: false, keep_space: false };
    const FOLDED: Normalisation = Normalisation { fold_case: true, keep_space: false };

    #[test]
    fn the_hash_is_the_published_one() {
        // The value of `xxh128sum` for no bytes.
        let empty = "99aa06d3014798d86001c324468d497f";
        for config in [AS_IS, WORDS, FOLDED] {
            assert_eq!(fingerprint_hex(Some(""), &config).as_deref(), Some(empty));
            assert_eq!(fingerprint_hex(None, &config), None);
        }
        assert_eq!(fingerprint_hex(Some(" \n"), &WORDS).as_deref(), Some(empty));
    }

    #[test]
    fn both_forms_are_the_same_number() {
        let bytes = fingerprint(Some("a text"), &WORDS).expect("no null");
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(bytes.len(), 16);
        assert_eq!(Some(hex), fingerprint_hex(Some("a text"), &WORDS));
    }

    #[test]
    fn white_space_and_case() {
        let same = |config: &Normalisation, a: &str, b: &str| hash(a, config) == hash(b, config);
        assert!(same(&WORDS, " a\t\u{a0}b\r\n\u{3000}c ", "a b c"));
        assert!(!same(&AS_IS, "a  b", "a b"));
        assert!(!same(&WORDS, "a b", "ab"));
        assert!(!same(&WORDS, "A b", "a b"));
        assert!(same(&FOLDED, "\n A\x0b\x0cBZ[ \r", "a bz["));
        assert!(same(&WORDS, "a b\u{a0}", "\ta  b ") && !same(&WORDS, "a b\x1c", "a b"));
        assert!(same(&FOLDED, "ÄRGER\u{2003}Über  Ǆ", "ärger über ǆ"));
        assert!(same(&Normalisation { keep_space: true, ..FOLDED }, "A  b", "a  B"));
        assert!(!same(&Normalisation { keep_space: true, ..FOLDED }, "A  b", "a B"));
    }

    #[test]
    fn a_large_text_does_not_keep_its_buffer() {
        hash(&"x".repeat(BUFFER_BYTES_MAX + 1), &WORDS);
        hash("small", &WORDS);
        assert!(NORMALISED.with_borrow(Vec::capacity) <= BUFFER_BYTES_MAX);
    }
}
