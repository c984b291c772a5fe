//! IP addresses. Where one may stand is found here; whether it is one is decided by the standard library's parsers.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::str::FromStr;

use crate::is_border;

/// `255.255.255.255`
const V4_BYTES_MAX: usize = 15;
/// `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`
const V6_BYTES_MAX: usize = 45;

/// The IPv4 address that begins with the digit at `at`, where a run of digits begins. Four numbers and no more: not a
/// part of 1.2.3.4.5, not a version that is written v1.2.3.4.
pub(crate) fn v4_at(text: &[u8], at: usize) -> Option<Range<usize>> {
    let before = at.checked_sub(1).map(|before| &text[before]);
    if !is_border(before) || before == Some(&b'.') {
        return None;
    }
    let is_part = |byte: &&u8| byte.is_ascii_digit() || **byte == b'.';
    let length = text[at..].iter().take(V4_BYTES_MAX + 2).take_while(is_part).count();
    let address = text[at..at + length].strip_suffix(b".").unwrap_or(&text[at..at + length]);
    let end = at + address.len();
    let is_end = is_border(text.get(end)) && text.get(end) != Some(&b'@');
    (is_end && parse::<Ipv4Addr>(address).is_some()).then_some(at..end)
}

/// The run of hexadecimal digits, colons and dots around the colon at `at`. All of it is looked at once.
pub(crate) fn v6_run(text: &[u8], at: usize) -> Range<usize> {
    // What stands before the first colon has at most four digits; one more tells that it has more.
    let before = text[..at].iter().rev().take(5).take_while(|byte| byte.is_ascii_hexdigit()).count();
    let is_part = |byte: &&u8| byte.is_ascii_hexdigit() || **byte == b':' || **byte == b'.';
    let after = text[at..].iter().take_while(is_part).count();
    at - before..at + after
}

/// The run without the punctuation of a sentence, if it is an address. Colons alone, or words with colons such as
/// `dead::beef` in a program, are not taken for one: three colons, or a digit, are wanted.
pub(crate) fn v6_in(text: &[u8], run: Range<usize>) -> Option<Range<usize>> {
    let all = &text[run.clone()];
    if all.len() > V6_BYTES_MAX + 1 || !is_border(run.start.checked_sub(1).map(|before| &text[before])) {
        return None;
    }
    let address = all.strip_suffix(b".").or_else(|| one_colon_less(all)).unwrap_or(all);
    let end = run.start + address.len();
    let colons = address.iter().filter(|byte| **byte == b':').count();
    let is_meant = address.iter().any(u8::is_ascii_hexdigit) && (colons > 2 || address.iter().any(u8::is_ascii_digit));
    (is_meant && is_border(text.get(end)) && parse::<Ipv6Addr>(address).is_some()).then_some(run.start..end)
}

/// `fe80::1:` at the end of a clause, but not `fe80::`.
fn one_colon_less(address: &[u8]) -> Option<&[u8]> {
    address.strip_suffix(b":").filter(|rest| !rest.ends_with(b":"))
}

fn parse<A: FromStr>(address: &[u8]) -> Option<A> {
    std::str::from_utf8(address).ok()?.parse().ok()
}
