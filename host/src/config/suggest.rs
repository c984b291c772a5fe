//! The known word that a person probably meant.

/// The word nearest to `written`, if one is near enough: a typing mistake or two, or an abbreviation.
pub(crate) fn nearest<'w>(written: &str, words: impl IntoIterator<Item = &'w str> + Clone) -> Option<&'w str> {
    let written = written.to_lowercase().replace('-', "_");
    let is_typo = |word: &str, distance| distance <= (word.len() / 3).max(1);
    let distances = words.clone().into_iter().map(|word| (distance(&written, &word.replace('-', "_")), word));
    let typo = distances.min_by_key(|&(distance, _)| distance).filter(|&(distance, word)| is_typo(word, distance));
    let is_abbreviation = |word: &&str| written.len() >= 3 && word.starts_with(&written);
    typo.map(|(_, word)| word).or_else(|| words.into_iter().find(is_abbreviation))
}

/// How many characters must be inserted, removed, replaced or swapped with their neighbour to get from `a` to `b`
/// (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let replaced = last[j] + usize::from(a[i] != b[j]);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn distances() {
        let rows =
            [("", "", 0), ("", "ab", 2), ("path", "pth", 1), ("path", "paht", 1), ("skip", "ship", 1), ("a", "xyz", 3)];
        for (a, b, expected) in rows {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn near_enough() {
        let words = ["path", "id", "on_error", "memory_bytes_max"];
        let rows = [
            ("Path", Some("path")),
            ("on-eror", Some("on_error")),
            ("memory", Some("memory_bytes_max")),
            ("workers", None),
        ];
        for (written, expected) in rows {
            assert_eq!(nearest(written, words), expected, "{written}");
        }
        assert_eq!(nearest("path", []), None);
    }
}
