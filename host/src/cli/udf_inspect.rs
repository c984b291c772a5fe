//! `wasmpipe udf inspect`: what a component offers, needs and imports. Its words are shown, never obeyed.

use serde_json::{Value, json};

use super::text::{bytes, harmless, harmless_lines};
use super::{FINISHED, REFUSED, args, cache_folder, pipeline_engine, print_error, schema, udf};
use crate::udf::{Column, Component, Function, Import};

pub(super) fn inspect(options: &args::UdfInspect) -> u8 {
    let loaded = pipeline_engine(&cache_folder()).and_then(|engine| udf::load(&engine, &options.file));
    match loaded {
        Ok(component) if options.json => out!("{}", report(&component)),
        Ok(component) => print(&component),
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
    serde_json::to_string_pretty(&report).expect("plain values are JSON")
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

fn print(component: &Component) {
    out!("{}", component.path().display());
    out!("  size     {}", bytes(component.bytes()));
    out!("  blake3   {}", component.digest());
    out!("{}", described(component.imports(), component.functions()).trim_end());
}

fn described(imports: &[Import], functions: &[Function]) -> String {
    let mut text = String::new();
    for (index, import) in imports.iter().enumerate() {
        let given = if import.is_granted { "" } else { "  NOT GRANTED: a call of it is a trap" };
        let head = if index == 0 { "imports" } else { "" };
        text += &format!("  {head:<7}  {}{given}\n", import.name);
    }
    if imports.is_empty() {
        text += "  imports  nothing\n";
    }
    functions.iter().for_each(|function| describe(function, &mut text));
    text
}

fn describe(function: &Function, text: &mut String) {
    *text += &format!("\n{} ({})\n", function.name, function.kind);
    for line in harmless_lines(&function.doc) {
        *text += format!("  {line}").trim_end();
        text.push('\n');
    }
    let replaced = |column: &Column| {
        let is_needed = |needs: &Vec<Column>| needs.iter().any(|need| need.name == column.name);
        if function.needs.as_ref().is_some_and(is_needed) { " (replaces it)" } else { "" }
    };
    *text += &format!("  needs    {}\n", columns(function.needs.as_deref(), "no column", |_| ""));
    *text += &format!("  adds     {}\n", columns(function.adds.as_deref(), "no column", replaced));
    *text += &config(function.config.as_ref());
}

fn columns(columns: Option<&[Column]>, none: &str, note: impl Fn(&Column) -> &'static str) -> String {
    let Some(columns) = columns else { return "not said; settled by the input and the config".into() };
    if columns.is_empty() {
        return none.into();
    }
    let column = |column: &Column| {
        let null = if column.nullable { ", may be null" } else { "" };
        plain(&format!("{} {}{null}", column.name, column.data_type)) + note(column)
    };
    columns.iter().map(column).collect::<Vec<_>>().join("; ")
}

fn config(schema: Option<&Value>) -> String {
    let Some(schema) = schema else { return "  config   not said\n".into() };
    let keys = schema::keys(schema);
    if keys.is_empty() {
        return "  config   no keys\n".into();
    }
    let width = |text: fn(&schema::Key) -> &str| keys.iter().map(|key| text(key).chars().count()).max().unwrap_or(0);
    let (name_width, type_width) = (width(|key| &key.name), width(|key| &key.data_type));
    let mut text = String::new();
    for (index, key) in keys.iter().enumerate() {
        let head = if index == 0 { "config" } else { "" };
        let (name, data_type) = (plain(&key.name), plain(&key.data_type));
        text += format!("  {head:<7}  {name:<name_width$}  {data_type:<type_width$}  {}", remark(key)).trim_end();
        text.push('\n');
    }
    text
}

fn remark(key: &schema::Key) -> String {
    let default = match (&key.default, key.is_required) {
        (Some(default), _) => format!("[default: {default}]"),
        (None, true) => "[required]".into(),
        (None, false) => String::new(),
    };
    let doc = key.doc.lines().next().unwrap_or_default();
    plain(format!("{default} {doc}").trim())
}

fn plain(text: &str) -> String {
    text.chars().map(harmless).collect()
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
        .assert_eq(&described(&imports, &functions()));
        assert_eq!(described(&[], &[]), "  imports  nothing\n");
    }
}
