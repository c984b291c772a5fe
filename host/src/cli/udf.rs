//! `wasmpipe udf build`: compiles, then checks the component against the contract.

use super::{FAILED, FINISHED, args, cache_folder, print_error, text, udf_build};
use crate::{pipeline, udf};

pub(super) fn build(options: &args::UdfBuild) -> u8 {
    let built = match udf_build::build(&options.dir, &udf_build::Options { out: options.out.clone() }) {
        Ok(built) => built,
        Err(error) => {
            print_error(&error);
            return FAILED;
        }
    };
    let checked = pipeline::engine(&cache_folder()).and_then(|engine| udf::Component::load(&engine, &built.path));
    match checked {
        Ok(component) => {
            out!("{} ({})", built.path.display(), text::bytes(built.bytes));
            for function in component.functions() {
                out!(
                    "  {} ({}): {}",
                    function.name,
                    function.kind,
                    function.doc.lines().next().unwrap_or("no documentation")
                );
            }
            say!("built with {}", built.toolchain);
            FINISHED
        }
        Err(error) => {
            print_error(&error);
            FAILED
        }
    }
}
