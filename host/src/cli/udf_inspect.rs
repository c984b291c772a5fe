//! `wasmpipe udf inspect`: what a component offers, needs and imports. Its words are shown, never obeyed.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::text::{bytes, cut, harmless_lines, line, number};
use super::{FINISHED, REFUSED, args, cache_folder, pipeline_engine, print_error};
use crate::author::{self, Inspected};
use crate::plan::config_schema::{Key, Keys};
use crate::udf::{Column, Component, Function, Import};

/// Characters of a name of a column, and of its type.
const COLUMN_CHARS_MAX: usize = 80;
/// Columns that are shown of a function's needs, and of what it adds.
const COLUMNS_MAX: usize = 200;
/// Names and types of keys are padded to this width at most; longer ones stand out.
const WIDTH_MAX: usize = 40;

pub(super) fn inspect(options: &args::UdfInspect) -> u8 {
    let loaded = pipeline_engine(&cache_folder()).and_then(|engine| author::inspect(&engine, &options.file));
    match loaded {
        Ok(Inspected { component, .. }) if options.json => out!("{}", report(&component)),
        Ok(inspected) => print(&inspected),
        Err(error) => {
            print_error(&error);
            return REFUSED;
        }
    }
    FINISHED
}

fn report(component: &Component) -> String {
    let imports = component.imports().iter().map(|import| json!({ "name": import.name, "granted": import.is_granted }));
    let report = json!({
        "path": component.path().display().to_string(),
        "bytes": component.bytes(),
        "blake3": component.digest(),
        "imports": imports.collect::<Vec<_>>(),
        "functions": component.functions().iter().map(function_report).collect::<Vec<_>>(),
    });
    super::json(&report)
}

fn function_report(function: &Function) -> Value {
    let columns = |columns: &Option<Vec<Column>>| {
        columns.as_ref().map(|columns| columns.iter().map(column_report).collect::<Vec<_>>())
    };
    json!({
        "name": function.name,
        "kind": function.kind.to_string(),
        "doc": function.doc,
        "config": function.config,
        "needs": columns(&function.needs),
        "adds": columns(&function.adds),
    })
}

fn column_report(column: &Column) -> Value {
    json!({ "name": column.name, "type": column.data_type, "nullable": column.nullable })
}

fn print(Inspected { component, keys }: &Inspected) {
    out!("{}", component.path().display());
    out!("  size     {}", bytes(component.bytes()));
    out!("  blake3   {}", component.digest());
    out!("{}", described(component.imports(), component.functions(), keys).trim_end());
}

fn described(imports: &[Import], functions: &[Function], keys: &[Option<Keys>]) -> String {
    let mut text = String::new();
    for (index, import) in imports.iter().enumerate() {
        let given = if import.is_granted { "" } else { "  NOT GRANTED: a call of it is a trap" };
        let head = if index == 0 { "imports" } else { "" };
        text += &format!("  {head:<7}  {}{given}\n", line(&import.name));
    }
    if imports.is_empty() {
        text += "  imports  nothing\n";
    }
    functions.iter().zip(keys).for_each(|(function, keys)| describe(function, keys.as_ref(), &mut text));
    text
}

fn describe(function: &Function, keys: Option<&Keys>, text: &mut String) {
    *text += &format!("\n{} ({})\n", line(&function.name), function.kind);
    for line in harmless_lines(&function.doc) {
        *text += format!("  {line}").trim_end();
        text.push('\n');
    }
    let needed: HashSet<&str> = function.needs.iter().flatten().map(|need| need.name.as_str()).collect();
    let replaced = |column: &Column| if needed.contains(column.name.as_str()) { " (replaces it)" } else { "" };
    *text += &format!("  needs    {}\n", columns(function.needs.as_deref(), "no column", |_| ""));
    *text += &format!("  adds     {}\n", columns(function.adds.as_deref(), "no column", replaced));
    *text += &config(keys);
}

fn columns(columns: Option<&[Column]>, none: &str, note: impl Fn(&Column) -> &'static str) -> String {
    let Some(columns) = columns else { return "not said; settled by the input and the config".into() };
    if columns.is_empty() {
        return none.into();
    }
    let column = |column: &Column| {
        let null = if column.nullable { ", may be null" } else { "" };
        let (name, data_type) = (cut(&column.name, COLUMN_CHARS_MAX), cut(&column.data_type, COLUMN_CHARS_MAX));
        format!("{name} {data_type}{null}{}", note(column))
    };
    let more = columns.len().saturating_sub(COLUMNS_MAX);
    let more = (more > 0).then(|| format!("... {} more", number(more as u64)));
    columns.iter().take(COLUMNS_MAX).map(column).chain(more).collect::<Vec<_>>().join("; ")
}

fn config(keys: Option<&Keys>) -> String {
    let Some(keys) = keys else { return "  config   not said\n".into() };
    if *keys == Keys::default() {
        return "  config   no keys\n".into();
    }
    let width = |text: fn(&Key) -> &str| {
        keys.shown.iter().map(|key| text(key).chars().count()).max().unwrap_or(0).min(WIDTH_MAX)
    };
    let (name_width, type_width) = (width(|key| &key.name), width(|key| &key.data_type));
    let line = |key: &Key| {
        let (name, data_type) = (&key.name, &key.data_type);
        format!("{name:<name_width$}  {data_type:<type_width$}  {}", remark(key)).trim_end().to_owned()
    };
    let mut text = String::new();
    for (index, line) in keys.shown.iter().map(line).chain(more(keys)).enumerate() {
        let head = if index == 0 { "config" } else { "" };
        text += &format!("  {head:<7}  {line}\n");
    }
    text
}

fn more(keys: &Keys) -> Option<String> {
    let least = if keys.is_endless { "at least " } else { "" };
    let is_more = keys.more > 0 || keys.is_endless;
    is_more.then(|| format!("... {least}{} more; `--json` has the schema as it is", number(keys.more as u64)))
}

fn remark(key: &Key) -> String {
    let default = match (&key.default, key.is_required) {
        (Some(default), _) => format!("[default: {default}]"),
        (None, true) => "[required]".into(),
        (None, false) => String::new(),
    };
    format!("{default} {}", key.doc).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn functions() -> Vec<Function> {
        let described = json!([
            {
                "name": "words", "kind": "map", "doc": "Counts words.\n\nOf \u{1b}[31mtext.",
                "needs": [{ "name": "text", "type": "Utf8", "nullable": false }, { "name": "n", "type": "Int64", "nullable": true }],
                "adds": [{ "name": "words", "type": "UInt32", "nullable": false }, { "name": "n", "type": "Int64", "nullable": true }],
                "config": {
                    "type": "object",
                    "required": ["language"],
                    "properties": {
                        "language": { "type": "string" },
                        "letters_min": { "type": "integer", "minimum": 0, "default": 1, "description": "Shorter words do not count." },
                    },
                },
            },
            { "name": "none", "kind": "filter", "needs": [], "adds": [], "config": { "type": "object" } },
            { "name": "any", "kind": "map-batches" },
        ]);
        serde_json::from_value(described).unwrap()
    }

    #[test]
    fn what_a_component_says_is_readable_and_harmless() {
        let import = |name: &str, is_granted| Import { name: name.into(), is_granted };
        let imports = [import("wasmpipe:udf/host@0.1.0", true), import("wasi:clocks/wall-clock@0.2.0", false)];
        expect![[r#"
              imports  wasmpipe:udf/host@0.1.0
                       wasi:clocks/wall-clock@0.2.0  NOT GRANTED: a call of it is a trap

            words (map)
              Counts words.

              Of �[31mtext.
              needs    text Utf8; n Int64, may be null
              adds     words UInt32; n Int64, may be null (replaces it)
              config   language     string        [required]
                       letters_min  integer >= 0  [default: 1] Shorter words do not count.

            none (filter)
              needs    no column
              adds     no column
              config   no keys

            any (map-batches)
              needs    not said; settled by the input and the config
              adds     not said; settled by the input and the config
              config   not said
        "#]]
        .assert_eq(&described_with(&imports, &functions()));
        assert_eq!(described(&[], &[], &[]), "  imports  nothing\n");
    }

    /// A width of 65,536 and more is a panic of the formatter; 100,000 lines as wide as the longest are gigabytes.
    #[test]
    fn long_names_and_many_keys_stay_a_screen_or_two() {
        let mut properties: serde_json::Map<_, _> = (0..100_000).map(|n| (format!("k{n:05}"), json!({}))).collect();
        properties.insert("a".repeat(70_000), json!({ "type": "b".repeat(70_000), "description": "Long." }));
        let column = json!({ "name": "c".repeat(70_000), "type": "d".repeat(70_000), "nullable": false });
        let described = json!([{
            "name": "wide", "kind": "map", "adds": vec![column; 300], "config": { "properties": properties },
        }]);
        let text = described_of(described);
        assert!(text.len() < 200_000, "{} bytes", text.len());
        assert!(text.contains("; ... 100 more\n"), "{text}");
        assert!(text.contains("           k00998"), "{text}");
        assert!(text.ends_with("           ... at least 19,000 more; `--json` has the schema as it is\n"), "{text}");
    }

    fn described_of(functions: Value) -> String {
        described_with(&[], &serde_json::from_value::<Vec<Function>>(functions).unwrap())
    }

    fn described_with(imports: &[Import], functions: &[Function]) -> String {
        described(imports, functions, &author::keys(functions))
    }
}
