//! What chunks must be, for any text, unit and size; and rows that show where cuts fall.

use super::*;

fn chunking(unit: Unit, size_max: usize, overlap: usize) -> Chunking {
    Chunking::new(ChunksConfig { unit, size_max, overlap, offsets: Offsets::Bytes }).expect("a config")
}

#[track_caller]
fn check(text: &str, chunking: &Chunking, expected: &[&str]) {
    let found: Vec<_> = chunks(text, chunking).map(|found| found.chunk).collect();
    assert_eq!(found, expected);
}

#[test]
fn cuts_are_at_paragraphs_then_sentences_then_words() {
    let twenty = chunking(Unit::Characters, 20, 0);
    check("One. Two three.\n\nFour five six.", &twenty, &["One. Two three.", "Four five six."]);
    check("One two three. Four five six.", &twenty, &["One two three.", "Four five six."]);
    check("one two three\nfour five six", &twenty, &["one two three", "four five six"]);
    check("one two three four five six", &twenty, &["one two three four", "five six"]);
    check(
        "(He said \"one two.\") Three four five",
        &chunking(Unit::Characters, 22, 0),
        &["(He said \"one two.\")", "Three four five"],
    );
    check(
        "一二三四五。六七八九十一二三四五",
        &chunking(Unit::Characters, 10, 0),
        &["一二三四五。", "六七八九十一二三四五"],
    );
    check("abcdefghijklmnopqrstuvwxyz", &twenty, &["abcdefghijklmnopqrst", "uvwxyz"]);
}

#[test]
fn a_chunk_that_is_just_full_is_not_cut_earlier() {
    check("one two. three four five", &chunking(Unit::Characters, 14, 0), &["one two.", "three four", "five"]);
    check("aaa bbb ccc", &chunking(Unit::Characters, 7, 0), &["aaa bbb", "ccc"]);
}

#[test]
fn overlap_begins_at_a_word() {
    check(
        "one two three four five six",
        &chunking(Unit::Characters, 13, 5),
        &["one two three", "three four", "four five six"],
    );
    check("one two. three four five", &chunking(Unit::Characters, 15, 5), &["one two. three", "three four five"]);
    check("a b c d e f g", &chunking(Unit::Words, 4, 2), &["a b c d", "c d e f", "e f g"]);
    check("abcdefghij", &chunking(Unit::Characters, 6, 3), &["abcdef", "defghi", "ghij"]);
}

#[test]
fn blank_texts_have_no_chunk_and_white_space_is_trimmed() {
    check("", &chunking(Unit::Characters, 10, 2), &[]);
    check(" \n\t\u{3000}".repeat(50).as_str(), &chunking(Unit::Characters, 10, 2), &[]);
    check("\n\n a b \n", &chunking(Unit::Words, 10, 2), &["a b"]);
}

#[test]
fn indices_and_offsets() {
    let text = "  äöü ßßß xyz";
    let whole = |found: Chunk<'static>| (found.chunk_index, found.start, found.end, found.chunk);
    let config = ChunksConfig { size_max: 6, overlap: 0, offsets: Offsets::Characters, ..ChunksConfig::default() };
    let by_character: Vec<_> = chunks(text, &Chunking::new(config).expect("a config")).map(whole).collect();
    assert_eq!(by_character, [(0, 2, 5, "äöü"), (1, 6, 9, "ßßß"), (2, 10, 13, "xyz")]);
    let by_byte: Vec<_> = chunks(text, &chunking(Unit::Characters, 6, 0)).map(whole).collect();
    assert_eq!(by_byte, [(0, 2, 8, "äöü"), (1, 9, 15, "ßßß"), (2, 16, 19, "xyz")]);
}

#[test]
fn what_is_refused() {
    let message = |size_max, overlap| {
        Chunking::new(ChunksConfig { size_max, overlap, ..ChunksConfig::default() }).err().expect("refused")
    };
    assert_eq!(message(0, 0), "size_max: a chunk of 0 holds nothing");
    assert_eq!(message(10, 6), "overlap: 6 is more than half of size_max, which is 10");
}

/// Texts of pieces that matter to a cut, from a fixed seed.
fn texts() -> impl Iterator<Item = String> {
    const PIECES: [&str; 13] =
        ["a", "word", "größe", "。", ". ", "!\" ", " ", "\n", "\n\n", "\u{3000}", "😀", "e\u{301}", "長い言葉"];
    let mut seed = 7_u64;
    (0..1500).map(move |length| {
        let mut text = String::new();
        for _ in 0..length % 150 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(PIECES[(seed >> 33) as usize % PIECES.len()]);
        }
        text
    })
}

#[test]
fn spans_cover_the_text_overlap_as_told_and_go_forward() {
    let sizes = [(1, 0), (2, 1), (3, 1), (7, 0), (10, 5), (64, 20), (1000, 500)];
    for text in texts() {
        for (size_max, overlap) in sizes {
            let spans: Vec<_> = Spans::new(&text, Unit::Characters, size_max, overlap).collect();
            assert_eq!(spans.first().map_or(0, |span| span.start), 0);
            assert_eq!(spans.last().map_or(0, |span| span.end), text.len());
            assert!(spans.iter().all(|span| text[span.clone()].chars().count() <= size_max));
            for pair in spans.windows(2) {
                assert!(pair[0].start < pair[1].start && pair[0].end < pair[1].end, "{text:?} {size_max} {overlap}");
                let common = text[pair[1].start..pair[0].end].trim_end().chars().count();
                assert!(common <= overlap, "{text:?} {size_max} {overlap}: {pair:?}");
                assert!(overlap == 0 || pair[1].start < pair[0].end, "{text:?} {size_max} {overlap}: {pair:?}");
            }
        }
    }
}

#[test]
fn sizes_in_words_hold() {
    let words = |text: &str| -> usize { text.split_whitespace().map(|word| word.chars().count().div_ceil(64)).sum() };
    for text in texts() {
        for (size_max, overlap) in [(1, 0), (2, 1), (5, 2), (20, 10)] {
            let spans: Vec<_> = Spans::new(&text, Unit::Words, size_max, overlap).collect();
            assert_eq!(spans.last().map_or(0, |span| span.end), text.len());
            assert!(spans.iter().all(|span| words(&text[span.clone()]) <= size_max));
            assert!(spans.windows(2).all(|pair| pair[0].start < pair[1].start && pair[1].start <= pair[0].end));
        }
    }
}

#[test]
fn nothing_but_white_space_is_lost() {
    for text in texts() {
        let without_overlap = chunking(Unit::Characters, 12, 0);
        let joined: String = chunks(&text, &without_overlap).map(|found| found.chunk).collect();
        let solid = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(solid(&joined), solid(&text));
        for Chunk { start, end, chunk, .. } in chunks(&text, &chunking(Unit::Characters, 12, 6)) {
            assert_eq!(&text[start as usize..end as usize], chunk);
        }
    }
}

#[test]
fn time_is_linear_in_hostile_texts() {
    for unit in ["x", "長", " ", "\n", ". ", "(", "x "] {
        let text = unit.repeat(4_000_000 / unit.len());
        for unit in [Unit::Characters, Unit::Words] {
            let count = chunks(&text, &chunking(unit, 1000, 500)).count();
            std::hint::black_box(count);
        }
    }
}
