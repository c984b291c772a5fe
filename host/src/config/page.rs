//! The page of all keys, `host/docs/keys.md`, as their declarations have it.

use super::keys::{FILE, Store};
use super::shape::{Key, Need, Shape, text};

const HEAD: &str = "\
<!-- Made of the declarations in host/src/config/keys.rs: edit these, then UPDATE_EXPECT=1 cargo xtask test the_page_of_keys -->

# Keys of the pipeline file

Paths are relative to the pipeline file's folder, unless they start with `/`. Sizes are numbers of bytes or strings with a
unit: `KiB`, `MiB`, `GiB` (1024), `KB`, `MB`, `GB` (1000). Times are in seconds, of which fractions are fine; a year is the
most. Where a list of columns is asked for, it names one at least, and none twice. A pipeline file is at most 1 MiB of TOML.

Unknown keys are refused, and a misspelt one with the key that was probably meant. All mistakes come in one report, with
their lines, as far as one can be seen without the others mended. [Editors](pipeline.md#in-an-editor) can check a file while
it is written. What a pipeline file looks like as a whole: [pipeline.md](pipeline.md).
";

/// The page of all keys, as Markdown: what each takes, its default and its meaning.
pub fn page() -> String {
    let sections: String = FILE.keys.iter().map(section).collect();
    let store = format!("\n## `store`\n\n{}\n\n{}", text(Store::SHAPE.docs), table(&Store::SHAPE));
    format!("{HEAD}{sections}{store}")
}

fn section(key: &Key) -> String {
    let shape = key.kind.section().expect("the file's keys are sections");
    let need = match key.need {
        Need::Required => " Required.".into(),
        Need::Absent(text) if !text.is_empty() => format!(" Without it {text}."),
        Need::Absent(_) | Need::Default(_) => String::new(),
    };
    format!("\n## `{}`\n\n{}{need}\n\n{}", shape.name, text(shape.docs), table(shape))
}

fn table(shape: &Shape) -> String {
    let rows: String = shape.keys.iter().map(row).collect();
    format!("| key | takes | default | meaning |\n|---|---|---|---|\n{rows}")
}

fn row(key: &Key) -> String {
    let default = match &key.need {
        Need::Required => "required".into(),
        Need::Default(value) => format!("`{}`", value()),
        Need::Absent(text) => (*text).to_owned(),
    };
    format!("| `{}` | {} | {default} | {} |\n", key.name, key.kind.words(), text(key.docs))
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    #[test]
    fn the_page_of_keys_is_made_of_their_declarations() {
        expect_file!["../../docs/keys.md"].assert_eq(&super::page());
    }
}
