//! The pass over a text: anchors, finds, and the text that is left.

use std::borrow::Cow;
use std::ops::Range;

use wasmpipe_sdk::State;

use crate::{Kind, RedactConfig, card, iban, ip, mail, phone};

/// All kinds, in the order of their counts.
pub(crate) const KINDS: [Kind; 6] = [Kind::Mail, Kind::Phone, Kind::Card, Kind::Iban, Kind::Ipv4, Kind::Ipv6];

/// Finds what is around, or begins at, an anchor.
type FindAt = fn(&[u8], usize) -> Option<Range<usize>>;

/// How often each kind was found.
pub(crate) type Counts = [u32; KINDS.len()];

impl Kind {
    fn name(self) -> &'static str {
        ["mail", "phone", "card", "iban", "ipv4", "ipv6"][self as usize]
    }
}

/// The config, ready to work.
pub struct Redactor {
    wanted: [bool; KINDS.len()],
    replacements: [String; KINDS.len()],
    /// Which bytes may be part of something wanted.
    anchors: Box<[bool; 256]>,
}

impl State for Redactor {
    type Config = RedactConfig;

    fn new(config: RedactConfig) -> Result<Redactor, String> {
        if config.kinds.is_empty() {
            return Err("kinds: name at least one, or leave it out for all".to_owned());
        }
        let wanted = KINDS.map(|kind| config.kinds.contains(&kind));
        let replacements = KINDS.map(|kind| config.replacement.replace("{kind}", kind.name()));
        Ok(Redactor { wanted, replacements, anchors: Box::new(anchors(wanted)) })
    }
}

impl Redactor {
    /// The text without what is wanted. It is borrowed, and nothing is allocated, if there is nothing.
    pub(crate) fn redact<'a>(&self, text: &'a str) -> (Cow<'a, str>, Counts) {
        let mut counts = Counts::default();
        let mut redacted = String::new();
        let mut kept = 0;
        let mut scan = Scan { redactor: self, bytes: text.as_bytes(), at: 0, done: 0, no_ipv6_before: 0 };
        while let Some((kind, found)) = scan.next_find() {
            counts[kind as usize] += 1;
            redacted.push_str(&text[kept..found.start]);
            redacted.push_str(&self.replacements[kind as usize]);
            kept = found.end;
        }
        if kept == 0 {
            return (Cow::Borrowed(text), counts);
        }
        redacted.push_str(&text[kept..]);
        (Cow::Owned(redacted), counts)
    }

    fn wants(&self, kind: Kind) -> bool {
        self.wanted[kind as usize]
    }
}

fn anchors(wanted: [bool; KINDS.len()]) -> [bool; 256] {
    let [mail, phone, card, iban, ipv4, ipv6] = wanted;
    std::array::from_fn(|byte| match byte as u8 {
        b'@' => mail,
        b':' => ipv6,
        b'+' | b'(' => phone,
        b'0'..=b'9' => phone || card || iban || ipv4,
        _ => false,
    })
}

struct Scan<'a> {
    redactor: &'a Redactor,
    bytes: &'a [u8],
    at: usize,
    /// The end of the last find: nothing reaches back before it.
    done: usize,
    /// Before this, no `:` is part of an IPv6 address: a run that was looked at once is not looked at again.
    no_ipv6_before: usize,
}

impl Scan<'_> {
    fn next_find(&mut self) -> Option<(Kind, Range<usize>)> {
        let anchors = &self.redactor.anchors;
        while let Some(skipped) = self.bytes[self.at..].iter().position(|byte| anchors[usize::from(*byte)]) {
            self.at += skipped;
            if let Some((kind, found)) = self.find()
                && found.start >= self.done
            {
                self.at = found.end;
                self.done = found.end;
                return Some((kind, found));
            }
            self.at += 1;
        }
        None
    }

    /// What the anchor at `self.at` is part of.
    fn find(&mut self) -> Option<(Kind, Range<usize>)> {
        let (bytes, at) = (self.bytes, self.at);
        match bytes[at] {
            b'@' => mail::at(bytes, at).map(|found| (Kind::Mail, found)),
            b':' => self.find_ipv6().map(|found| (Kind::Ipv6, found)),
            b'0'..=b'9' if at > 0 && bytes[at - 1].is_ascii_digit() => None,
            b'0'..=b'9' => self.find_number(),
            _ => phone::at(bytes, at).map(|found| (Kind::Phone, found)),
        }
    }

    // From the surest kind to the vaguest.
    fn find_number(&self) -> Option<(Kind, Range<usize>)> {
        const NUMBERS: [(Kind, FindAt); 4] =
            [(Kind::Iban, iban::at), (Kind::Card, card::at), (Kind::Ipv4, ip::v4_at), (Kind::Phone, phone::at)];
        let wanted = NUMBERS.iter().filter(|(kind, _)| self.redactor.wants(*kind));
        wanted.filter_map(|(kind, find)| Some((*kind, find(self.bytes, self.at)?))).next()
    }

    fn find_ipv6(&mut self) -> Option<Range<usize>> {
        if self.at < self.no_ipv6_before {
            return None;
        }
        let run = ip::v6_run(self.bytes, self.at);
        self.no_ipv6_before = run.end;
        ip::v6_in(self.bytes, run)
    }
}
