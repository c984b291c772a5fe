//! Rows of text and what becomes of them. Addresses and numbers are those that standards set aside for examples.

use wasmpipe_sdk::State;

use super::*;

fn with(kinds: &[Kind], replacement: &str) -> Redactor {
    let config = RedactConfig { kinds: kinds.to_vec(), replacement: replacement.to_owned() };
    Redactor::new(config).expect("a config")
}

fn all() -> Redactor {
    Redactor::new(RedactConfig::default()).expect("a config")
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(all().redact(text).0, expected, "{text:?}");
}

/// Nothing is found.
#[track_caller]
fn plain(text: &str) {
    check(text, text);
    assert!(matches!(all().redact(text).0, Cow::Borrowed(_)));
}

#[test]
fn mails() {
    check("Write to ann.lee+x@mail.example.org.", "Write to [mail].");
    check("<mailto:a@example.com>", "<mailto:[mail]>");
    check("'o'neil@example.ie'", "'[mail]'");
    check("a@b.example,c@d.example", "[mail],[mail]");
    check("grüße@example.org", "grüße@example.org".replace("e@example.org", "[mail]").as_str());
    for text in ["@here", "a@b", "user@localhost", "a@b.1", "a@-b.org", "a@b..org", "a.@b.org", "x @ y.org"] {
        plain(text);
    }
    plain(&format!("{}@example.org", "x".repeat(65)));
}

#[test]
fn phones() {
    for number in [
        "+49 30 1234567",
        "+49 (0)30 1234567",
        "+442071838750",
        "+1 (212) 555-0123",
        "+33 1 70 18 99 00",
        "(212) 555-0123",
        "(212)555-0123",
        "212-555-0123",
        "212.555.0123",
        "1-212-555-0123",
    ] {
        check(number, "[phone]");
        check(&format!("Call {number}, please."), "Call [phone], please.");
    }
    for text in ["2125550123", "212 555 0123", "112-555-0123", "212-155-0123", "12-212-555-0123-4", "555-0123"] {
        plain(text);
    }
    for text in ["+0123456789", "+1234567", "+1234567890123456", "1+12345678", "2024-05-17", "10-2024-11-1234"] {
        plain(text);
    }
}

#[test]
fn cards() {
    for number in [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "378282246310005",
        "3782 822463 10005",
        "5555555555554444",
        "2223003122003222",
        "6011111111111117",
        "30569309025904",
        "3530111333300000",
        "4222222222222",
        "6304000000000000",
    ] {
        check(number, "[card]");
        check(&format!("({number}) 2024"), "([card]) 2024");
    }
    check("4111 1111 1111 1111 2024", "[card] 2024");
    // A wrong check digit, no issuer, too long, part of a longer word, a decimal fraction.
    plain("4111111111111112");
    plain("9111111111111111");
    plain("41111111111111110000000000");
    plain("4111111111111111000000000");
    plain("64111111111111111110");
    plain("x4111111111111111 4111111111111111_");
    plain("0.4111111111111111");
    plain("411 1111 1111 11111");
}

#[test]
fn ibans() {
    for number in
        ["DE89370400440532013000", "GB29 NWBK 6016 1331 9268 19", "NO9386011117947", "FR1420041010050500013M02606"]
    {
        check(number, "[iban]");
        check(&format!("To {number}."), "To [iban].");
    }
    check("DE89 3704 0044 0532 0130 00 EUR", "[iban] EUR");
    plain("DE88370400440532013000");
    plain("ZZ89370400440532013000");
    plain("de89370400440532013000");
    plain("XDE89370400440532013000");
    plain("DE8937040044053201300");
}

#[test]
fn ip_addresses() {
    check("from 192.0.2.1 to 198.51.100.255:443.", "from [ipv4] to [ipv4]:443.");
    check("203.0.113.9.", "[ipv4].");
    for address in ["2001:db8::1", "::1", "fe80::1", "2001:db8:0:0:1:0:0:1", "::ffff:192.0.2.128", "2001:DB8::"] {
        check(address, "[ipv6]");
        check(&format!("see [{address}], or"), "see [[ipv6]], or");
    }
    check("It is 2001:db8::1.", "It is [ipv6].");
    check("2001:db8::1: a host", "[ipv6]: a host");
    for text in ["1.2.3", "v1.2.3.4", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4a", "12:30:45", "a:b", "::"] {
        plain(text);
    }
    for text in ["std::net::Ipv4Addr", "dead::beef", "aa:bb:cc:dd:ee:ff", "x2001:db8::1", "12345::1", "C::D 10::x"] {
        plain(text);
    }
}

#[test]
fn plain_numbers_and_other_scripts_stay() {
    plain("Version 1.2.3 of 2024-05-17 has 1,234,567 lines, 3.14159265358979 each, in 0x1f600 files.");
    plain("注文番号 1234567890123456、合計 ¥1,234。");
    plain("");
    check("連絡先はann@example.jpです", "連絡先は[mail]です");
}

#[test]
fn counts_and_replacements() {
    let text = "a@b.org, +49 30 1234567, 4111111111111111, NO9386011117947, 192.0.2.1, ::1, c@d.org";
    let (redacted, counts) = all().redact(text);
    assert_eq!(redacted, "[mail], [phone], [card], [iban], [ipv4], [ipv6], [mail]");
    assert_eq!(counts, [2, 1, 1, 1, 1, 1]);
    let (redacted, counts) = with(&[Kind::Mail, Kind::Ipv6], "<{kind}|{kind}>").redact(text);
    assert_eq!(
        redacted,
        text.replace("a@b.org", "<mail|mail>").replace("c@d.org", "<mail|mail>").replace("::1", "<ipv6|ipv6>")
    );
    assert_eq!(counts, [2, 0, 0, 0, 0, 1]);
    assert_eq!(with(&[Kind::Card], "").redact("x 4111111111111111 y").0, "x  y");
    let answer = redact("a@b.org", &all());
    assert_eq!((answer.text.as_ref(), answer.mails), ("[mail]", 1));
    let none = RedactConfig { kinds: vec![], ..RedactConfig::default() };
    assert_eq!(Redactor::new(none).err().as_deref(), Some("kinds: name at least one, or leave it out for all"));
}

// Each of these makes one rule work as much as it can. A rule that looked at the whole rest from each anchor would need
// hours.
#[test]
fn time_is_linear_in_hostile_texts() {
    let bytes = 4_000_000;
    for unit in
        ["1", "@", "a@", ":", "a:", "1 ", "1.", "4111 ", "4111-1111-1111-1111 ", "+1", "(", "DE89 ", "ab", "a.b@c.d"]
    {
        let text = unit.repeat(bytes / unit.len());
        std::hint::black_box(all().redact(&text));
    }
}

#[test]
fn no_text_makes_it_panic() {
    let pieces = ["4111", " ", "-", "@", "a", ".", "1", "+", "(", ")", "::", ":", "DE89", "é", "二", "255.", "b.org"];
    let mut seed = 1_u64;
    for _ in 0..200_000 {
        let mut text = String::new();
        for _ in 0..8 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(pieces[(seed >> 33) as usize % pieces.len()]);
        }
        let (redacted, counts) = all_once().redact(&text);
        assert_eq!(matches!(redacted, Cow::Borrowed(_)), counts.iter().sum::<u32>() == 0, "{text:?}");
    }
}

fn all_once() -> &'static Redactor {
    static ALL: std::sync::OnceLock<Redactor> = std::sync::OnceLock::new();
    ALL.get_or_init(all)
}
