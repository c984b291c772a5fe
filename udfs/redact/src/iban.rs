//! IBANs (ISO 13616): a country, two check digits, as many letters and digits as that country has; in one piece or in
//! printed groups of four. The check digits make the whole 1 modulo 97 (ISO/IEC 7064).

use std::ops::Range;

use crate::is_border;

/// Country and length, from the IBAN registry (SWIFT, ISO 13616 registration authority).
const COUNTRIES: &str = "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 \
    DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 \
    KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 \
    PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20";

/// The IBAN whose first check digit is at `at`, where a run of digits begins.
pub(crate) fn at(text: &[u8], at: usize) -> Option<Range<usize>> {
    let start = at.checked_sub(2)?;
    let country = [text[start], text[start + 1]];
    if !country.iter().all(u8::is_ascii_uppercase) || !text.get(at + 1)?.is_ascii_digit() {
        return None;
    }
    if !is_border(start.checked_sub(1).map(|before| &text[before])) {
        return None;
    }
    let end = end_of(text, start, length_of(country)?)?;
    (is_border(text.get(end)) && remainder(&text[start..end]) == Some(1)).then_some(start..end)
}

fn length_of(country: [u8; 2]) -> Option<usize> {
    let entry = COUNTRIES.split_ascii_whitespace().find(|entry| entry.as_bytes().starts_with(&country))?;
    entry[2..].parse().ok()
}

/// Where `length` letters and digits end, if nothing but single blanks after every fourth lies between them.
fn end_of(text: &[u8], start: usize, length: usize) -> Option<usize> {
    let is_grouped = text.get(start + 4) == Some(&b' ');
    let end = if is_grouped { start + length + (length - 1) / 4 } else { start + length };
    let is_in_place = |(n, byte): (usize, &u8)| match is_grouped && n % 5 == 4 {
        true => *byte == b' ',
        false => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
    };
    text.get(start..end)?.iter().enumerate().all(is_in_place).then_some(end)
}

/// The number modulo 97, with the first four characters moved to the end, and A = 10 to Z = 35.
fn remainder(iban: &[u8]) -> Option<u32> {
    let (head, tail) = iban.split_at_checked(4)?;
    let characters = tail.iter().chain(head).filter(|byte| **byte != b' ');
    let remainder = characters.fold(0, |remainder, byte| match byte {
        b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
        _ => (remainder * 100 + u32::from(byte - b'A' + 10)) % 97,
    });
    Some(remainder)
}
