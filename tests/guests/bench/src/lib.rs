//! Functions whose time in the host is compared with their time natively, by `cargo xtask bench udf`. Typical work of
//! four kinds (a text scan, parsing, pattern matching, arithmetic), and two that do next to nothing, so that what
//! surrounds a function shows.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;
use wasmpipe_sdk::map;

/// The number of words.
#[map]
#[inline]
pub fn word_count(text: &str) -> u32 {
    text.split_whitespace().count() as u32
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    title: Cow<'a, str>,
    year: Option<i64>,
}

/// The title and the year of a page's metadata.
#[map(columns("title", "year"))]
#[inline]
pub fn json_fields(json: &str) -> Result<(Cow<'_, str>, Option<i64>), serde_json::Error> {
    let Page { title, year } = serde_json::from_str(json)?;
    Ok((title, year))
}

static MAIL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}").expect("a valid pattern"));

/// The text with mail addresses replaced.
#[map]
#[inline]
pub fn redacted(text: &str) -> Cow<'_, str> {
    MAIL.replace_all(text, "<mail>")
}

/// A polynomial of the third degree in two variables.
#[map]
#[inline]
pub fn polynomial(x: f64, y: f64) -> f64 {
    1.0 + x * (2.0 + x * (3.0 + 0.5 * x)) + y * (4.0 + y * (5.0 + 0.25 * y)) + x * y * (6.0 + x - y)
}

/// The greatest common divisor, by Euclid's algorithm; null if one of the two is null.
#[map]
#[inline]
pub fn gcd(a: Option<i32>, b: Option<i32>) -> Option<i32> {
    let (mut a, mut b) = (a?, b?);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    Some(a)
}

/// Both columns again, value by value.
#[map(columns("n", "text"))]
#[inline]
pub fn copied(n: i64, text: &str) -> (i64, &str) {
    (n, text)
}

wasmpipe_sdk::export!(word_count, json_fields, redacted, polynomial, gcd, copied);
