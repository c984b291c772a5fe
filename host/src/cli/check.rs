//! `wasmpipe check`: everything that `run` would refuse, without running. Nothing is written.

use super::{FAILED, FINISHED, REFUSED, args, print_error, run, text};
use crate::message::Message;
use crate::pipeline::{self, RunError};
use crate::plan::{self, Plan};

pub(super) fn check(options: &args::Check) -> u8 {
    let chosen =
        run::Chosen { accept_change: options.accept_change, relocate: options.relocate, ..run::Chosen::default() };
    let plan = match run::make(&options.pipeline, chosen) {
        Ok(plan) => plan,
        Err(code) => return code,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime without threads starts");
    if let Err(error) = runtime.block_on(pipeline::check(&plan)) {
        print_error(&error);
        let is_refusal = matches!(&error, RunError::Commit(error) if error.is_refusal());
        return if is_refusal { REFUSED } else { FAILED };
    }
    if options.all {
        match runtime.block_on(plan::look(&plan)) {
            Ok(defects) if defects.is_empty() => {}
            Ok(defects) => return report(&defects),
            Err(error) => {
                print_error(&error);
                return FAILED;
            }
        }
    }
    out!("{}", verdict(&plan, options.all));
    FINISHED
}

fn report(defects: &[Message]) -> u8 {
    defects.iter().for_each(|defect| say!("{defect}"));
    say!("{} of the source", text::counted(defects.len() as u64, "problem"));
    REFUSED
}

fn verdict(plan: &Plan, all: bool) -> String {
    let objects = text::counted(plan.source.objects.len() as u64, "object");
    let looked = if all { format!("{objects}, each looked into") } else { objects };
    let stages = text::counted(plan.stages.len() as u64, "stage");
    format!("{}: ok, {looked}; {stages}", plan.file.display())
}
