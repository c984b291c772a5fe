//! What to type after a row ended a run: the commands that run it by hand, and how the run goes on.

use crate::block::Origin;
use crate::plan::{Plan, Stage};
use crate::udf;

/// Rows that `udf test` takes.
const ROWS_MAX: u64 = 1_000_000;

/// What to do about a function that this row of the object ended.
pub(super) fn hint(plan: &Plan, index: usize, origin: &Origin, row: u64) -> String {
    format!(
        "`{}` runs this row alone; mend the function to give an error for such a row",
        commands(plan, index, origin, row)
    )
}

/// How the run goes on after a row failed.
pub(super) fn going_on(plan: &Plan) -> &'static str {
    match (plan.is_durable, &plan.ids) {
        (false, _) => "mend the row or the function, name another sink, which is empty, and run the same command again",
        (true, Some(_)) => {
            "mend the row and run the same command again; or mend the function, build it, and run with --accept-change"
        }
        (true, None) => {
            "mend the function, build it, and run with --accept-change; to mend the row, begin a new job (new checkpoint, \
             empty sink), because without `id` a source object must stay as it is"
        }
    }
}

/// One command, or one for each stage up to this one if an earlier stage makes what it needs.
fn commands(plan: &Plan, index: usize, origin: &Origin, row: u64) -> String {
    let object: &str = &origin.object;
    let stages = &plan.stages[..=index];
    let makes = |stage: &Stage| {
        let made = stage.binding.adds.fields().iter();
        made.filter(|field| stages[index].binding.needs.column_with_name(field.name()).is_some()).count() > 0
    };
    let from = if stages[..index].iter().any(makes) { 0 } else { index };
    let mut commands = Vec::new();
    let object = match plan.source.store.local_root() {
        Some(root) => root.join(object).display().to_string(),
        None => {
            let copy = object.rsplit('/').next().unwrap_or_default().to_owned();
            let url = format!("{}/{}", plan.source.store.url(), object);
            commands.push(format!("aws s3 cp {} {}", word(&url), word(&copy)));
            copy
        }
    };
    let mut input = match origin.numbering.line(row) {
        None => format!("{} --skip {row} --rows 1", word(&object)),
        Some((line, byte)) => {
            commands.push(format!("{} > row.jsonl", line_of(&object, line, byte)));
            "row.jsonl".to_owned()
        }
    };
    for (at, stage) in stages.iter().enumerate().skip(from) {
        let mut command = format!("{} --input {input}", test(&stage.spec));
        if at < index {
            let file = format!("after-stage-{}.parquet", at + 1);
            command += &format!(" --write {file}");
            input = format!("{file} --rows {ROWS_MAX}");
        }
        commands.push(command);
    }
    commands.join("; ")
}

/// Prints a line of a file, from 1: of those that begin at this byte or later.
fn line_of(file: &str, line: u64, byte: u64) -> String {
    let name = word(file);
    let text = match (file.rsplit('.').next(), byte) {
        (Some("gz"), _) => format!("gzip -dc {name} |"),
        (Some("zst"), _) => format!("zstd -dc {name} |"),
        (_, 0) => return format!("sed -n '{line}{{p;q}}' {name}"),
        // The line that ends here or later is another's.
        (_, byte) => return format!("tail -c +{byte} {name} | sed -n '{}{{p;q}}'", line + 1),
    };
    format!("{text} sed -n '{line}{{p;q}}'")
}

fn test(spec: &udf::Spec) -> String {
    let component = spec.component.path().display().to_string();
    let config = match &spec.config {
        serde_json::Value::Object(keys) if !keys.is_empty() => format!(" --config {}", word(&spec.config.to_string())),
        _ => String::new(),
    };
    format!("wasmpipe udf test {} --function {}{config}", word(&component), word(&spec.function))
}

/// A text as one word of a shell.
fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the reader counts lines.
    #[test]
    fn a_line_is_printed_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b.jsonl");
        std::fs::write(&path, "one\n\ntwo\nthree\nfour\n").unwrap();
        let file = path.display().to_string();
        // Lines begin at bytes 0, 4, 5, 9 and 15.
        for (line, byte, text) in
            [(1, 0, "one\n"), (3, 0, "two\n"), (1, 5, "two\n"), (1, 6, "three\n"), (2, 9, "four\n")]
        {
            let said = std::process::Command::new("sh").arg("-c").arg(line_of(&file, line, byte)).output().unwrap();
            assert_eq!(String::from_utf8(said.stdout).unwrap(), text, "{line} from {byte}");
        }
        assert_eq!(line_of("a.jsonl.zst", 2, 0), "zstd -dc a.jsonl.zst | sed -n '2{p;q}'");
    }

    #[test]
    fn words_of_a_shell() {
        assert_eq!(word("a/b-1.parquet"), "a/b-1.parquet");
        assert_eq!(word(r#"{"at":7}"#), r#"'{"at":7}'"#);
        assert_eq!(word("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(word(""), "''");
    }
}
