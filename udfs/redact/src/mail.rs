//! Mail addresses: the unquoted form of RFC 5322, with a domain name of at least two labels.

use std::ops::Range;

/// RFC 5321, 4.5.3.1.1.
const LOCAL_BYTES_MAX: usize = 64;
/// RFC 5321, 4.5.3.1.2.
const DOMAIN_BYTES_MAX: usize = 255;

/// The address around the `@` at `at`.
pub(crate) fn at(text: &[u8], at: usize) -> Option<Range<usize>> {
    let local = text[..at].iter().rev().take(LOCAL_BYTES_MAX + 1).take_while(|byte| is_local(**byte)).count();
    let local = &text[at - local..at];
    // An address in a sentence may follow a dot or a quote, which does not belong to it.
    let local = local.iter().position(u8::is_ascii_alphanumeric).map(|start| &local[start..])?;
    let domain = text[at + 1..].iter().take(DOMAIN_BYTES_MAX + 1).take_while(|byte| is_domain(**byte)).count();
    let domain = trim_end(&text[at + 1..at + 1 + domain]);
    let is_address = local.len() <= LOCAL_BYTES_MAX && !local.ends_with(b".") && is_name(domain);
    is_address.then(|| at - local.len()..at + 1 + domain.len())
}

fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte)
}

fn is_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.'
}

fn trim_end(domain: &[u8]) -> &[u8] {
    let end = domain.iter().rposition(u8::is_ascii_alphanumeric).map_or(0, |last| last + 1);
    &domain[..end]
}

fn is_name(domain: &[u8]) -> bool {
    let mut labels = domain.rsplit(|byte| *byte == b'.');
    let top = labels.next().unwrap_or_default();
    let is_label = |label: &[u8]| !label.is_empty() && !label.starts_with(b"-") && !label.ends_with(b"-");
    let is_top = top.len() >= 2 && top[0].is_ascii_alphabetic();
    let others = labels.map(is_label).reduce(|all, one| all && one);
    domain.len() <= DOMAIN_BYTES_MAX && is_top && others == Some(true)
}
