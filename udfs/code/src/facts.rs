//! `facts`: licence line, share of comments, number of lines. By line starts only: a comment sign within a string at
//! the start of a line counts as a comment.

use wasmpipe_sdk::map;

/// A licence is named near the top or not at all.
const LICENCE_LINES: usize = 40;

/// What is known at a glance.
///
/// - `licence`: the first line of the first 40 that names a licence (`SPDX-License-Identifier: MIT` gives `MIT`), without
///   comment signs; null if there is none.
/// - `comment_share`: which share of the lines that are not blank is comment, by the comment signs of `language`; 0 for
///   a language without known signs.
/// - `lines`: the number of lines.
#[map(columns("licence", "comment_share", "lines"))]
pub fn facts(language: &str, text: &str) -> (Option<String>, f64, u32) {
    let lines = u32::try_from(text.lines().count()).unwrap_or(u32::MAX);
    (licence(text).map(str::to_owned), comment_share(text, signs(language)), lines)
}

fn licence(text: &str) -> Option<&str> {
    text.lines().take(LICENCE_LINES).find_map(licence_in).filter(|licence| !licence.is_empty())
}

fn licence_in(line: &str) -> Option<&str> {
    const SPDX: &str = "SPDX-License-Identifier:";
    if let Some(at) = line.find(SPDX) {
        return Some(bare(&line[at + SPDX.len()..]));
    }
    let line = bare(line);
    let is_named = ["Licensed under", "License:", "licensed under", "Permission is hereby granted", "License, Version"];
    is_named.iter().any(|sign| line.contains(sign)).then_some(line)
}

fn bare(line: &str) -> &str {
    line.trim_matches(|c: char| c.is_whitespace() || "/*#;-!<>\"'%".contains(c))
}

/// The comment signs of a language.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Signs {
    line: Option<&'static str>,
    block: Option<(&'static str, &'static str)>,
}

fn signs(language: &str) -> Signs {
    let known = |names: &[&str]| names.iter().any(|name| language.eq_ignore_ascii_case(name));
    let c_like =
        ["rust", "c", "c++", "cpp", "java", "javascript", "typescript", "go", "swift", "kotlin", "zig", "proto"];
    let hash = ["python", "shell", "sh", "toml", "yaml", "ruby", "perl", "make", "makefile", "cmake", "dockerfile"];
    if known(&c_like) {
        Signs { line: Some("//"), block: Some(("/*", "*/")) }
    } else if known(&hash) {
        Signs { line: Some("#"), block: None }
    } else if known(&["css"]) {
        Signs { line: None, block: Some(("/*", "*/")) }
    } else if known(&["html", "xml", "markdown", "svg"]) {
        Signs { line: None, block: Some(("<!--", "-->")) }
    } else if known(&["sql", "lua", "haskell"]) {
        Signs { line: Some("--"), block: None }
    } else if known(&["assembly", "asm", "lisp", "clojure", "wat"]) {
        Signs { line: Some(";"), block: None }
    } else {
        Signs { line: None, block: None }
    }
}

fn comment_share(text: &str, signs: Signs) -> f64 {
    let (mut comments, mut lines, mut is_in_block) = (0_u32, 0_u32, false);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        lines += 1;
        comments += u32::from(is_comment(line, signs, &mut is_in_block));
    }
    if lines == 0 { 0.0 } else { f64::from(comments) / f64::from(lines) }
}

fn is_comment(line: &str, signs: Signs, is_in_block: &mut bool) -> bool {
    if let Some((open, close)) = signs.block {
        if *is_in_block {
            *is_in_block = !line.contains(close);
            return true;
        }
        if let Some(rest) = line.strip_prefix(open) {
            *is_in_block = !rest.contains(close);
            return true;
        }
    }
    signs.line.is_some_and(|sign| line.starts_with(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_lines() {
        let check =
            |text: &str, expected: Option<&str>| assert_eq!(facts("rust", text).0.as_deref(), expected, "{text}");
        check("// SPDX-License-Identifier: Apache-2.0 OR MIT\n", Some("Apache-2.0 OR MIT"));
        check("/* SPDX-License-Identifier: MIT */\nint x;", Some("MIT"));
        check(
            "//! Docs\n// Licensed under the MIT license <LICENSE-MIT>.\n",
            Some("Licensed under the MIT license <LICENSE-MIT>."),
        );
        check("# SPDX-License-Identifier:\n", None);
        check("fn main() {}\n", None);
        check(&format!("{}// SPDX-License-Identifier: MIT\n", "\n".repeat(LICENCE_LINES)), None);
    }

    #[test]
    fn comment_shares() {
        let share = |language: &str, text: &str| facts(language, text).1;
        assert_eq!(share("rust", "// a\n\nfn main() {}\n"), 0.5);
        assert_eq!(share("Rust", "/* a\n b\n*/\nfn main() {}\n"), 0.75);
        assert_eq!(share("rust", "/* a */\nfn main() {}\n"), 0.5);
        assert_eq!(share("python", "# a\nx = 1 # not at the start\n// no\n/* no\n"), 0.25);
        assert_eq!(share("html", "<!-- a\n-->\n<p>\n<p>"), 0.5);
        assert_eq!(share("unheard-of", "// a\n"), 0.0);
        assert_eq!(share("rust", "\n \n"), 0.0);
    }

    #[test]
    fn line_counts() {
        assert_eq!(facts("", "").2, 0);
        assert_eq!(facts("", "a").2, 1);
        assert_eq!(facts("", "a\r\nb\n\n").2, 3);
    }
}
