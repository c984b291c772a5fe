//! A path as written: a JSON Pointer (RFC 6901), or a JSONPath that names one place (RFC 9535, "singular query").

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into an object.
    Key(String),
    /// Into an array.
    Index(usize),
    /// A number in a JSON Pointer: into an object or an array, whichever is there.
    Either(String, usize),
}

/// No path is deeper: serde_json, too, goes no deeper along one.
pub(crate) const STEPS_MAX: usize = 100;

pub(crate) fn parse(path: &str) -> Result<Vec<Step>, String> {
    let steps = match path.as_bytes().first() {
        None => Vec::new(),
        Some(b'/') => path[1..].split('/').map(pointer_step).collect::<Result<_, _>>()?,
        Some(b'$') => json_path(path)?,
        Some(_) => return Err(format!("the path {path:?} begins neither with / (JSON Pointer) nor with $ (JSONPath)")),
    };
    match steps.len() <= STEPS_MAX {
        true => Ok(steps),
        false => Err(format!("the path has {} steps; at most {STEPS_MAX} are allowed", steps.len())),
    }
}

fn pointer_step(token: &str) -> Result<Step, String> {
    let mut key = String::with_capacity(token.len());
    let mut characters = token.chars();
    while let Some(c) = characters.next() {
        key.push(match c {
            '~' => match characters.next() {
                Some('0') => '~',
                Some('1') => '/',
                _ => return Err(format!("in {token:?}, ~ must be written ~0 (and / as ~1)")),
            },
            c => c,
        });
    }
    Ok(match index(token) {
        Some(index) => Step::Either(key, index),
        None => Step::Key(key),
    })
}

/// A number as RFC 6901 and RFC 9535 write an index: without a leading zero.
fn index(text: &str) -> Option<usize> {
    let is_index = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    is_index.then(|| text.parse().ok()).flatten()
}

fn json_path(path: &str) -> Result<Vec<Step>, String> {
    let mut rest = &path[1..];
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (step, after) = json_path_step(rest).ok_or_else(|| {
            let at = path.len() - rest.len();
            format!("the path {path:?} cannot be read from byte {at} on: write .key, ['any key'] or [index]")
        })?;
        steps.push(step);
        rest = after;
    }
    Ok(steps)
}

fn json_path_step(rest: &str) -> Option<(Step, &str)> {
    if let Some(name) = rest.strip_prefix('.') {
        let end = name.find(['.', '[']).unwrap_or(name.len());
        let is_name = !name[..end].is_empty() && name[..end].chars().all(is_name_character);
        return is_name.then(|| (Step::Key(name[..end].to_owned()), &name[end..]));
    }
    let inner = rest.strip_prefix('[')?;
    match inner.chars().next()? {
        quote @ ('\'' | '"') => quoted(&inner[1..], quote),
        _ => {
            let (number, after) = inner.split_once(']')?;
            Some((Step::Index(index(number)?), after))
        }
    }
}

/// `it's'] ...` after the opening quote; a quote or a backslash in the key is written with a backslash before it.
fn quoted(text: &str, quote: char) -> Option<(Step, &str)> {
    let mut key = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => key.push(characters.next().map(|(_, c)| c).filter(|c| *c == quote || *c == '\\')?),
            c if c == quote => return Some((Step::Key(key), text[at + 1..].strip_prefix(']')?)),
            c => key.push(c),
        }
    }
    None
}

// Wider than RFC 9535, which wants ['a-b']: a hyphen in a name can mean nothing else here.
fn is_name_character(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-' || !c.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(key: &str) -> Step {
        Step::Key(key.to_owned())
    }

    #[test]
    fn pointers() {
        let check = |path: &str, expected: &[Step]| assert_eq!(parse(path).as_deref(), Ok(expected), "{path}");
        check("", &[]);
        check("/", &[key("")]);
        check("/a/b c/~1~0", &[key("a"), key("b c"), key("/~")]);
        check("/a/0/01/-", &[key("a"), Step::Either("0".to_owned(), 0), key("01"), key("-")]);
    }

    #[test]
    fn json_paths() {
        let check = |path: &str, expected: &[Step]| assert_eq!(parse(path).as_deref(), Ok(expected), "{path}");
        check("$", &[]);
        check("$.a.b[0]", &[key("a"), key("b"), Step::Index(0)]);
        check(
            "$['it\\'s']['a.b'][\"c\"][12].größe-2",
            &[key("it's"), key("a.b"), key("c"), Step::Index(12), key("größe-2")],
        );
    }

    #[test]
    fn what_is_refused() {
        for path in
            ["a", "$a", "$.", "$..a", "$.a[*]", "$[-1]", "$[01]", "$.a[", "$['a'", "$['a]", "/~2", "/~", "$[0:2]"]
        {
            assert!(parse(path).is_err(), "{path}");
        }
        let error = parse("$.a[*]").expect_err("no single place");
        assert_eq!(error, "the path \"$.a[*]\" cannot be read from byte 3 on: write .key, ['any key'] or [index]");
        assert!(parse(&"/a".repeat(STEPS_MAX)).is_ok());
        assert_eq!(parse(&"/a".repeat(101)).expect_err("deep"), "the path has 101 steps; at most 100 are allowed");
    }
}
