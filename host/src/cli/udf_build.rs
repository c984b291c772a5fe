//! `wasmpipe udf build [DIR | MODULE]`: from a guest crate, or a core module, to a component. Cargo's own messages go to stderr
//! as they come.

use std::env;
use std::path::PathBuf;

use super::{FAILED, FINISHED, REFUSED, args, cache_folder, pipeline_engine, print_error, text};
use crate::author::build::{self, Build, Built};

/// Names the folder for what cargo makes. Unset, it is `guests` in wasmpipe's cache folder.
const TARGET_DIR_VARIABLE: &str = "WASMPIPE_GUEST_TARGET_DIR";

pub(super) fn build(options: &args::UdfBuild) -> u8 {
    let engine = match pipeline_engine(&cache_folder()) {
        Ok(engine) => engine,
        Err(error) => {
            print_error(&error);
            return REFUSED;
        }
    };
    let wanted = Build { path: &options.path, out: options.out.as_deref(), target_dir: &target_dir() };
    match build::build(&engine, &wanted) {
        Ok(built) => {
            print(&built);
            FINISHED
        }
        Err(error) => {
            print_error(&error);
            if error.is_failure() { FAILED } else { REFUSED }
        }
    }
}

fn target_dir() -> PathBuf {
    match env::var_os(TARGET_DIR_VARIABLE).filter(|chosen| !chosen.is_empty()) {
        Some(chosen) => env::current_dir().unwrap_or_default().join(chosen),
        None => cache_folder().join("guests"),
    }
}

fn print(Built { component, how }: &Built) {
    out!("{} ({})", component.path().display(), text::bytes(component.bytes()));
    for function in component.functions() {
        let doc = text::harmless_lines(&function.doc).next();
        out!("  {} ({}): {}", text::line(&function.name), function.kind, doc.as_deref().unwrap_or("no documentation"));
    }
    for import in component.imports().iter().filter(|import| !import.is_granted) {
        say!("note: it imports {}, which functions are not given: a call of it is a trap", import.name);
    }
    say!("{how}");
}
