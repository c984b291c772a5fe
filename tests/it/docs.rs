//! The manual does not rot: its pipeline files are read, its commands and options are there, its links lead somewhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use wasmpipe::config;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().into()
}

/// What people read, by its path.
fn pages() -> Vec<(PathBuf, String)> {
    let mut paths: Vec<PathBuf> =
        ["README.md", "guest-sdk/rust/README.md", "udfs/README.md"].map(|name| root().join(name)).into();
    paths.extend(fs::read_dir(root().join("host/docs")).unwrap().map(|entry| entry.unwrap().path()));
    let mut pages: Vec<_> = paths.into_iter().map(|path| (path.clone(), fs::read_to_string(&path).unwrap())).collect();
    pages.sort();
    pages.into_iter().filter(|(path, _)| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// Blocks of code: lines that are indented by four spaces, with blank ones between them, or stand between fences.
fn blocks(page: &str) -> Vec<String> {
    let (mut blocks, mut block, mut is_fenced) = (Vec::new(), String::new(), false);
    for line in page.lines().chain(["end"]) {
        let code = if is_fenced { Some(line) } else { line.strip_prefix("    ").or(line.is_empty().then_some("")) };
        if line.starts_with("```") {
            is_fenced = !is_fenced;
        } else if let Some(code) = code {
            block += &format!("{code}\n");
            continue;
        }
        blocks.push(std::mem::take(&mut block));
    }
    blocks.into_iter().filter(|block| !block.trim().is_empty()).collect()
}

/// A block that shows some sections of a pipeline file gets the others.
fn whole(block: &str) -> Option<String> {
    let sections = ["[source]", "[[stage]]", "[sink]", "[checkpoint]", "[dead_letters]", "[run]"];
    let is_pipeline = block.lines().any(|line| sections.contains(&line.trim_end()));
    let mut text: String = block.split_inclusive('\n').filter(|line| !line.starts_with("wasmpipe ")).collect();
    for (section, least) in [("[source]", "path = 'in/'"), ("[sink]", "path = 'out/'")] {
        if !block.contains(section) {
            text += &format!("{section}\n{least}\n");
        }
    }
    is_pipeline.then_some(text)
}

#[test]
fn pipeline_files_in_the_manual_are_read() {
    let mut count = 0;
    for (path, page) in pages() {
        for text in blocks(&page).iter().filter_map(|block| whole(block)) {
            let config = config::parse(&path, &text).unwrap_or_else(|problems| panic!("{problems}\nin\n{text}"));
            assert!(config.problems.is_empty(), "{}\nin\n{text}", config::Problems(config.problems));
            count += 1;
        }
    }
    assert!(count >= 5, "only {count} pipeline files were found");
}

/// The help of each command by its words: `wasmpipe checkpoint verify`.
fn helps() -> BTreeMap<String, String> {
    let all = fs::read_to_string(root().join("host/src/cli/help.txt")).unwrap();
    let each = all.split("$ ").filter_map(|help| help.split_once(" --help\n"));
    each.map(|(command, help)| (command.to_owned(), help.to_owned())).collect()
}

/// A command that is not there, or an option that it has not.
fn mistake(line: &str, helps: &BTreeMap<String, String>) -> Option<String> {
    let words: Vec<&str> = line.split("  #").next()?.split_whitespace().collect();
    let commands = (1..=words.len()).rev().map(|count| words[..count].join(" "));
    let command = commands.into_iter().find(|said| helps.contains_key(said))?;
    let help = &helps[&command];
    let has_commands = help.contains("\nCommands:\n");
    let options = words.iter().map(|word| word.trim_matches(['[', ']'])).filter(|word| word.starts_with("--"));
    let unknown = options.map(|option| option.split('=').next().unwrap()).find(|option| {
        let is_it = |word: &str| word.trim_end_matches(',') == *option;
        !help.split_whitespace().any(is_it)
    });
    match unknown {
        Some(option) => Some(format!("`{command}` has no {option}")),
        None if has_commands => Some(format!("`{command}` is not a whole command")),
        None => None,
    }
}

#[test]
fn commands_in_the_manual_are_there_with_their_options() {
    let (helps, mut count) = (helps(), 0);
    for (path, page) in pages() {
        let blocks = blocks(&page);
        for line in blocks.iter().flat_map(|block| block.lines()).filter(|line| line.starts_with("wasmpipe ")) {
            assert_eq!(mistake(line, &helps), None, "{}: {line}", path.display());
            count += 1;
        }
    }
    assert!(count >= 20, "only {count} commands were found");
    for line in ["wasmpipe rum x.toml", "wasmpipe run --lanes 3", "wasmpipe checkpoint", "wasmpipe checkpoint look x"] {
        assert!(mistake(line, &helps).is_some(), "{line}");
    }
}

/// As GitHub makes them: words in lower case with hyphens between them.
fn anchors(page: &str) -> Vec<String> {
    let titles = page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: char| c.is_alphanumeric() || c == ' ' || c == '-' || c == '_';
    titles
        .map(|title| title.to_lowercase().chars().filter(|&c| kept(c)).collect::<String>().replace(' ', "-"))
        .collect()
}

#[test]
fn links_in_the_manual_lead_somewhere() {
    let mut wrong = Vec::new();
    for (path, page) in pages() {
        let targets = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.starts_with("https://")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let to = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let has_anchor = || anchors(&fs::read_to_string(&to).unwrap()).iter().any(|known| known == anchor);
            if !to.exists() || !anchor.is_empty() && !has_anchor() {
                wrong.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
