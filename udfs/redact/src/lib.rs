//! `redact`: finds mail addresses, phone numbers, payment cards, IBANs and IP addresses in a text, and replaces them.
//!
//! One pass over the bytes of the text, driven by anchors: `@` for mail, a digit for cards, IBANs, IPv4 and phones, `+`
//! and `(` for phones, `:` for IPv6. All other bytes cost one look into a table. Written by hand and not with a regular
//! expression, because what decides is arithmetic (check digits, octets, lengths per country) that a pattern cannot do,
//! because six patterns would look at every byte six times, and because an engine for patterns is larger than all of
//! this. What an anchor looks at is bounded, so time is linear in the text, whatever is in it.
//!
//! It knows forms, not facts: no names, no street addresses, no national phone numbers without punctuation.
//!
//! * `scan.rs`: the pass, and how what was found becomes text
//! * `mail.rs`, `phone.rs`, `card.rs`, `iban.rs`, `ip.rs`: one kind each: `fn at(text, anchor) -> Option<Range>`

mod card;
mod iban;
mod ip;
mod mail;
mod phone;
mod scan;

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wasmpipe_sdk::{Columns, map};

use scan::{KINDS, Redactor};

/// The config of [`redact`].
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedactConfig {
    /// What to look for. All unless given.
    pub kinds: Vec<Kind>,
    /// What is written instead; `{kind}` becomes the kind's name. It may be empty.
    pub replacement: String,
}

/// Something that is personal.
#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A mail address: `a.b@example.org`.
    Mail,
    /// A phone number: international with `+` (ITU-T E.164), or North American with punctuation.
    Phone,
    /// A payment card number with a known prefix and a valid check digit (ISO/IEC 7812, Luhn).
    Card,
    /// An IBAN with its country's length and valid check digits (ISO 13616, mod 97).
    Iban,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address (RFC 4291).
    Ipv6,
}

impl Default for RedactConfig {
    fn default() -> Self {
        Self { kinds: KINDS.to_vec(), replacement: "[{kind}]".to_owned() }
    }
}

/// Replaces personal data in `text`, and counts what was found.
///
/// `text` itself is replaced, so that no later function reads what was found: each find becomes `replacement`
/// (`"[{kind}]"` unless given); `mails`, `phones`, `cards`, `ibans`, `ipv4s`, `ipv6s` count. `kinds` chooses among `mail`, `phone`, `card`, `iban`, `ipv4`, `ipv6`.
///
/// Cards (Luhn, known prefixes) and IBANs (mod 97, length of the country) must have valid check digits; IP addresses must
/// parse; phone numbers are `+` and 8 to 15 digits, or North American ones with punctuation. A version such as 1.2.3 or a
/// plain number is left alone; four numbers with dots are an address even where a version was meant.
#[map]
pub fn redact<'a>(text: &'a str, #[state] redactor: &Redactor) -> Redacted<'a> {
    let (text, [mails, phones, cards, ibans, ipv4s, ipv6s]) = redactor.redact(text);
    Redacted { text, mails, phones, cards, ibans, ipv4s, ipv6s }
}

/// What `redact` gives: the column that it read, and new ones.
#[derive(Columns)]
pub struct Redacted<'a> {
    text: Cow<'a, str>,
    mails: u32,
    phones: u32,
    cards: u32,
    ibans: u32,
    ipv4s: u32,
    ipv6s: u32,
}

wasmpipe_sdk::export!(redact);

/// Whether a word may begin or end beside this byte: it is no letter, digit or underscore.
fn is_border(byte: Option<&u8>) -> bool {
    byte.is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
}

#[cfg(test)]
mod tests;
