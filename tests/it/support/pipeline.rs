//! Pipeline files: from `in` to `out`, with a checkpoint in `checkpoint` and ids in `id`. A test says what it cares about.

use std::fmt;

use super::{Multiset, once};

/// A pipeline file, section by section.
#[derive(Clone, Debug)]
pub struct Pipeline {
    source: Vec<String>,
    stages: Vec<String>,
    sink: Vec<String>,
    checkpoint: Vec<String>,
    run: Vec<String>,
}

/// Stages are `component.function`, and further lines of their section.
pub fn pipeline(stages: &[&str]) -> Pipeline {
    let path = |path: &str| vec![format!("path = \"{path}\"")];
    let (source, sink, checkpoint) = (path("in"), path("out"), path("checkpoint"));
    let stages = stages.iter().map(|stage| self::stage(stage)).collect();
    Pipeline { source, stages, sink, checkpoint, run: Vec::new() }.source("id = \"id\"")
}

fn stage(text: &str) -> String {
    let (name, more) = text.split_once('\n').unwrap_or((text, ""));
    let (component, function) = name.split_once('.').unwrap();
    format!("component = \"{{guests}}/{component}.wasm\"\nfunction = \"{function}\"\n{more}")
}

/// In groups of 20 rows and blocks of seven; these columns are kept.
pub fn in_small_blocks(stages: &[&str], columns: &str) -> Pipeline {
    let job = pipeline(stages).sink(&format!("columns = [{columns}]")).checkpoint("group_rows_max = 20");
    job.run("workers = 2\nreaders = 2\nblock_rows_max = 7")
}

/// These numbers fail and are left out, the smallest becomes a dead letter, and what is left is negated and written twice.
pub fn failing_twice(at: &[i64]) -> Pipeline {
    let errors = format!("hostile.errors_on\nconfig = {{ at = {at:?} }}\non_error = \"skip\"");
    let stages = [&errors, "bare.negate\non_error = \"dead-letter\"", "hostile.twice"];
    pipeline(&stages).sink("columns = [\"id\", \"negated\"]")
}

/// Every number twice, in groups of ten.
pub fn twice() -> Pipeline {
    let twice = pipeline(&["hostile.twice"]).sink("columns = [\"id\", \"twice\"]");
    twice.checkpoint("group_rows_max = 10\nheartbeat_seconds = 0.05").run("workers = 1\nreaders = 1")
}

/// Numbers are doubled, in groups of ten rows and blocks of five.
pub fn doubling() -> Pipeline {
    let doubling = pipeline(&["hostile.double"]).checkpoint("group_rows_max = 10");
    doubling.run("workers = 2\nreaders = 1\nblock_rows_max = 5")
}

/// What [`doubling`] makes of `number_batch`.
pub fn doubled(numbers: impl IntoIterator<Item = i64>) -> Multiset {
    once(numbers.into_iter().map(|n| format!("id-{n}|{n}|{}", n * 2)))
}

/// Lines take the place of those with the same key.
impl Pipeline {
    #[must_use]
    pub fn source(mut self, lines: &str) -> Pipeline {
        set(&mut self.source, lines);
        self
    }

    /// For a `Place`: `{root}` stands for what comes before `in`, `out` and `checkpoint`, `{store}` for how to reach them.
    #[must_use]
    pub fn anywhere(mut self) -> Pipeline {
        let sections = [(&mut self.source, "in/"), (&mut self.sink, "out/"), (&mut self.checkpoint, "checkpoint")];
        for (section, path) in sections {
            set(section, &format!("path = \"{{root}}{path}\"\n{{store}}"));
        }
        self
    }

    #[must_use]
    pub fn by_position(mut self) -> Pipeline {
        self.source.retain(|line| key(line) != "id");
        self
    }

    #[must_use]
    pub fn sink(mut self, lines: &str) -> Pipeline {
        set(&mut self.sink, lines);
        self
    }

    #[must_use]
    pub fn checkpoint(mut self, lines: &str) -> Pipeline {
        set(&mut self.checkpoint, lines);
        self
    }

    #[must_use]
    pub fn without_checkpoint(mut self) -> Pipeline {
        self.checkpoint.clear();
        self
    }

    #[must_use]
    pub fn run(mut self, lines: &str) -> Pipeline {
        set(&mut self.run, lines);
        self
    }
}

fn set(section: &mut Vec<String>, lines: &str) {
    for line in lines.lines() {
        match section.iter_mut().find(|old| key(old) == key(line)) {
            Some(old) => line.clone_into(old),
            None => section.push(line.to_owned()),
        }
    }
}

fn key(line: &str) -> &str {
    line.split('=').next().unwrap().trim()
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stages = self.stages.iter().map(|stage| ("[[stage]]", stage.trim_end().to_owned()));
        let sections = [("[sink]", &self.sink), ("[checkpoint]", &self.checkpoint), ("[run]", &self.run)];
        let sections = sections.into_iter().map(|(name, lines)| (name, lines.join("\n")));
        let source = [("[source]", self.source.join("\n"))].into_iter();
        for (name, lines) in source.chain(stages).chain(sections).filter(|(_, lines)| !lines.is_empty()) {
            write!(f, "{name}\n{lines}\n")?;
        }
        Ok(())
    }
}
