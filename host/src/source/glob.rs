//! Patterns of names. One is matched part by part, so that a wildcard can leave hidden names alone.
//!
//! `*`, `?`, `[a-z]` and `{a,b}` stay within a part of a path, a part that is `**` stands for any number of them. A name that
//! begins with `_` or `.` is hidden: engines keep there what is no data, unfinished output above all. No wildcard takes a
//! hidden name or goes below it; only a part of the pattern that itself begins with that letter does.

use std::iter::Peekable;
use std::str::CharIndices;

use globset::{GlobBuilder, GlobMatcher};

/// Patterns that one with braces around slashes may stand for.
const WAYS_MAX: usize = 1000;

/// A pattern for paths below a root.
#[derive(Clone, Debug)]
pub(super) struct Glob {
    /// Any of these.
    ways: Vec<Vec<Part>>,
}

/// What a part of a pattern takes.
#[derive(Clone, Debug)]
enum Part {
    /// `**`: any number of names.
    Any,
    /// A name.
    One {
        names: GlobMatcher,
        /// Of the hidden ones, these.
        hidden: Option<GlobMatcher>,
    },
}

/// Whether names are taken that begin with `_` or `.` where the pattern does not say so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hidden {
    AreLeft,
    AreTaken,
}

/// Whether a whole path is to match, or something below it may.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Whole,
    Below,
}

impl Glob {
    pub(super) fn new(pattern: &str) -> Result<Glob, String> {
        // Says what is wrong with it as a whole.
        matcher(pattern)?;
        let mut ways = Vec::new();
        expand(pattern, &mut ways)?;
        let ways = ways.iter().map(|way| parts(way).into_iter().map(Part::new).collect());
        Ok(Glob { ways: ways.collect::<Result<_, String>>()? })
    }

    /// Whether it takes a file.
    pub(super) fn takes(&self, path: &str) -> bool {
        self.matches(path, Reach::Whole, Hidden::AreLeft)
    }

    /// Whether it would, if hidden names were like others.
    pub(super) fn would_take(&self, path: &str) -> bool {
        self.matches(path, Reach::Whole, Hidden::AreTaken)
    }

    /// Whether it may take something below a folder.
    pub(super) fn enters(&self, folder: &str) -> bool {
        self.matches(folder, Reach::Below, Hidden::AreLeft)
    }

    /// Whether it might, if hidden names were like others.
    pub(super) fn would_enter(&self, folder: &str) -> bool {
        self.matches(folder, Reach::Below, Hidden::AreTaken)
    }

    /// Whether it takes nothing but files of the root itself.
    pub(super) fn is_shallow(&self) -> bool {
        self.ways.iter().all(|way| matches!(way[..], [Part::One { .. }]))
    }

    fn matches(&self, path: &str, reach: Reach, hidden: Hidden) -> bool {
        let names: Vec<&str> = path.split('/').collect();
        self.ways.iter().any(|way| matches(way, &names, reach, hidden))
    }
}

/// Whether a name is hidden.
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with(['_', '.'])
}

/// Whether a text is a pattern.
pub fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// Whether a part of a pattern takes the name that is spelt as it is.
pub(super) fn takes_itself(part: &str) -> bool {
    matcher(part).is_ok_and(|matcher| matcher.is_match(part))
}

fn matches(way: &[Part], names: &[&str], reach: Reach, hidden: Hidden) -> bool {
    let Some((name, below)) = names.split_first() else {
        return match reach {
            Reach::Whole => way.is_empty(),
            Reach::Below => !way.is_empty(),
        };
    };
    match way.split_first() {
        None => false,
        Some((Part::Any, rest)) => {
            // At the end it stands for one name at least: for what is below a folder, not the folder.
            let is_over = !rest.is_empty() && matches(rest, names, reach, hidden);
            let takes_name = hidden == Hidden::AreTaken || !is_hidden(name);
            let is_end = rest.is_empty() && matches(rest, below, reach, hidden);
            is_over || takes_name && (is_end || matches(way, below, reach, hidden))
        }
        Some((part, rest)) => part.takes(name, hidden) && matches(rest, below, reach, hidden),
    }
}

impl Part {
    fn new(written: &str) -> Result<Part, String> {
        if written == "**" {
            return Ok(Part::Any);
        }
        let hidden = beginnings(written).filter(|way| is_hidden(way.trim_start_matches('\\'))).collect::<Vec<_>>();
        let hidden = match &hidden[..] {
            [] => None,
            [only] => Some(matcher(only)?),
            several => Some(matcher(&format!("{{{}}}", several.join(",")))?),
        };
        Ok(Part::One { names: matcher(written)?, hidden })
    }

    fn takes(&self, name: &str, hidden: Hidden) -> bool {
        let Part::One { names, hidden: named } = self else { return false };
        match is_hidden(name) && hidden == Hidden::AreLeft {
            true => named.as_ref().is_some_and(|named| named.is_match(name)),
            false => names.is_match(name),
        }
    }
}

fn matcher(pattern: &str) -> Result<GlobMatcher, String> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|error| error.to_string())
}

/// Parts between slashes; those that are empty or `.` say nothing.
fn parts(way: &str) -> Vec<&str> {
    let slashes = Marks::of(way).filter(|(_, mark)| *mark == '/').map(|(at, _)| at);
    cut(way, slashes).into_iter().filter(|part| !part.is_empty() && *part != ".").collect()
}

/// Texts between bytes at these places.
fn cut(text: &str, places: impl Iterator<Item = usize>) -> Vec<&str> {
    let mut from = 0;
    let mut parts: Vec<&str> = Vec::new();
    for at in places {
        parts.push(&text[from..at]);
        from = at + 1;
    }
    parts.push(&text[from..]);
    parts
}

/// All patterns without braces around slashes that a pattern stands for.
fn expand(pattern: &str, ways: &mut Vec<String>) -> Result<(), String> {
    let with_slash = groups(pattern).into_iter().find(|group| group.has_slash);
    let Some(group) = with_slash else {
        if ways.len() == WAYS_MAX {
            return Err(format!("the braces stand for more than {WAYS_MAX} patterns"));
        }
        ways.push(pattern.to_owned());
        return Ok(());
    };
    let (before, after) = (&pattern[..group.from], &pattern[group.to + 1..]);
    group.choices(pattern).try_for_each(|choice| expand(&format!("{before}{choice}{after}"), ways))
}

/// The pattern once for each choice of the braces that it begins with, if it does.
fn beginnings(part: &str) -> Box<dyn Iterator<Item = String> + '_> {
    match groups(part).into_iter().next().filter(|group| group.from == 0) {
        None => Box::new(std::iter::once(part.to_owned())),
        Some(group) => {
            let after = &part[group.to + 1..];
            let choices: Vec<String> = group.choices(part).map(|choice| format!("{choice}{after}")).collect();
            Box::new(choices.into_iter().flat_map(|choice| beginnings(&choice).collect::<Vec<_>>()))
        }
    }
}

/// Braces, and what stands in them.
struct Group {
    from: usize,
    to: usize,
    commas: Vec<usize>,
    has_slash: bool,
}

impl Group {
    /// Empty ones stand for nothing.
    fn choices<'a>(&self, pattern: &'a str) -> impl Iterator<Item = &'a str> + use<'a> {
        let inside = &pattern[self.from + 1..self.to];
        let commas = self.commas.iter().map(|at| at - self.from - 1);
        cut(inside, commas).into_iter().filter(|choice| !choice.is_empty())
    }
}

/// The braces that lie in no others.
fn groups(pattern: &str) -> Vec<Group> {
    let (mut groups, mut depth) = (Vec::<Group>::new(), 0_usize);
    for (at, mark) in Marks::of(pattern) {
        match (mark, groups.last_mut()) {
            ('{', _) if depth == 0 => {
                groups.push(Group { from: at, to: at, commas: Vec::new(), has_slash: false });
                depth = 1;
            }
            ('{', _) => depth += 1,
            ('}', Some(group)) if depth > 0 => {
                depth -= 1;
                group.to = at;
            }
            (',', Some(group)) if depth == 1 => group.commas.push(at),
            ('/', Some(group)) if depth > 0 => group.has_slash = true,
            _ => {}
        }
    }
    groups
}

/// Letters of a pattern that part it: slashes, braces, commas, unless they are escaped or stand in brackets.
struct Marks<'a>(Peekable<CharIndices<'a>>);

impl Marks<'_> {
    fn of(pattern: &str) -> Marks<'_> {
        Marks(pattern.char_indices().peekable())
    }

    /// To the end of brackets: what stands first in them, behind a `!` or `^`, does not close them.
    fn skip_class(&mut self) {
        self.0.next_if(|(_, c)| ['!', '^'].contains(c));
        self.0.next();
        self.0.by_ref().find(|(_, c)| *c == ']');
    }
}

impl Iterator for Marks<'_> {
    type Item = (usize, char);

    fn next(&mut self) -> Option<(usize, char)> {
        loop {
            match self.0.next()? {
                (_, '\\') => drop(self.0.next()),
                (_, '[') => self.skip_class(),
                (at, mark @ ('/' | '{' | '}' | ',')) => return Some((at, mark)),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(pattern: &str, path: &str) -> bool {
        Glob::new(pattern).unwrap().takes(path)
    }

    #[test]
    fn names_are_matched_part_by_part() {
        let rows = [
            ("*.parquet", "a.parquet", true),
            ("*.parquet", "a/b.parquet", false),
            ("2026-*/part-?.parquet", "2026-01/part-1.parquet", true),
            ("2026-*/part-?.parquet", "2026-01/deeper/part-1.parquet", false),
            ("**/*.parquet", "a.parquet", true),
            ("**/*.parquet", "a/b/c.parquet", true),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("**", "a/b", true),
            ("a/**/**/b", "a/b", true),
            ("a**b", "a/b", false),
            ("./a//*", "a/b", true),
            ("[!x]b", "/b", false),
            ("[]]", "]", true),
            ("[[]1]", "[1]", true),
            ("[,{]*", "{a", true),
            (r"\{a", "{a", true),
            ("{a,b}/*.parquet", "b/c.parquet", true),
            ("{a/b,c}/*.parquet", "a/b/c.parquet", true),
            ("{a/b,c}/*.parquet", "a/c.parquet", false),
            ("{a,{b/c,d}}/{e,f}", "b/c/f", true),
            ("{**/x,y}.parquet", "a/b/x.parquet", true),
            ("a{,b}", "ab", true),
            ("a{,b}", "a", false),
        ];
        for (pattern, path, is_taken) in rows {
            assert_eq!(takes(pattern, path), is_taken, "{pattern} {path}");
        }
    }

    #[test]
    fn hidden_names_are_taken_only_by_what_begins_as_they_do() {
        let rows = [
            ("**/*.parquet", "_temporary/0/a.parquet", false),
            ("**/*.parquet", "a/.b/c.parquet", false),
            ("*/*", "a/_hidden.parquet", false),
            ("?a.parquet", "_a.parquet", false),
            ("[_.]a.parquet", "_a.parquet", false),
            ("_temporary/**/*.parquet", "_temporary/0/a.parquet", true),
            ("_temporary/**/*.parquet", "_temporary/_0/a.parquet", false),
            ("**/_*/*.parquet", "a/_b/c.parquet", true),
            ("**/.*", "a/.b", true),
            (r"\_a*", "_ab", true),
            ("{_a,b}*", "_ab", true),
            ("{{_a,c},b}*", "_ab", true),
            ("{_a/b,c}/*", "_a/b/c", true),
            ("*{_a,b}", "_a", false),
        ];
        for (pattern, path, is_taken) in rows {
            let glob = Glob::new(pattern).unwrap();
            assert_eq!((glob.takes(path), glob.would_take(path)), (is_taken, true), "{pattern} {path}");
        }
    }

    #[test]
    fn folders_are_entered_where_something_may_match() {
        let rows = [
            ("*.parquet", "a", false),
            ("*/*.parquet", "a", true),
            ("*/*.parquet", "a/b", false),
            ("2026-*/*.parquet", "2025-01", false),
            ("**/*.parquet", "a/b", true),
            ("**/*.parquet", "_a", false),
            ("_a/**", "_a", true),
            ("a/**", "b", false),
            ("a/**", "a/b", true),
        ];
        for (pattern, folder, is_entered) in rows {
            assert_eq!(Glob::new(pattern).unwrap().enters(folder), is_entered, "{pattern} {folder}");
        }
        assert!(Glob::new("{a,b}*").unwrap().is_shallow());
        assert!(!Glob::new("**").unwrap().is_shallow() && !Glob::new("{a,b/c}").unwrap().is_shallow());
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["[a", "{a", "a}", "[b-a]", "a/[b", &"{a/,b/}".repeat(11)] {
            assert!(Glob::new(pattern).is_err(), "{pattern}");
        }
    }
}
