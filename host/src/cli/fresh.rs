//! `wasmpipe run --fresh`: what is given up, what stays, and whether that is meant.

use std::io::{BufRead, IsTerminal, stdin};

use super::text::{bytes, counted, line};
use super::{FAILED, REFUSED};
use crate::commit::GivenUp;
use crate::message::Message;
use crate::plan::Plan;

/// Names that are shown of what stays.
const NAMED_MAX: usize = 5;

/// Says what is given up and what is not touched, and asks, unless there is nothing to give up or a person has said yes.
pub(super) fn ask(plan: &Plan, given_up: &GivenUp, yes: bool) -> Result<(), u8> {
    if given_up.is_nothing() {
        say!("note: there is no job to give up: this one begins as it would without --fresh");
        return Ok(());
    }
    let (sink, checkpoint) = (plan.sink.store.url(), plan.checkpoint.url());
    say!("{}", described(given_up, sink, checkpoint, plan.source.store.url()));
    match (yes, stdin().is_terminal()) {
        (true, _) => Ok(()),
        (false, true) => confirmed(),
        (false, false) => Err(refused(
            "--fresh asks before it gives a job up, and nobody is there to answer: stdin is no terminal",
            "nothing was changed; say --fresh --yes",
        )),
    }
}

fn described(given_up: &GivenUp, sink: &str, checkpoint: &str, source: &str) -> String {
    let jobs: Vec<&str> = given_up.jobs().collect();
    let mut text = format!("--fresh gives up job {} with all that it has done:\n", jobs.join(", "));
    let mut add = |what: &str, text_of: String| text += &format!("  {what:<12}{text_of}\n");
    if given_up.logged.is_some() {
        let lists = match given_up.imported {
            0 => String::new(),
            lists => format!(", with {} of imported ids", counted(lists, "file")),
        };
        add("deletes", format!("its checkpoint {checkpoint}{lists}"));
    }
    if given_up.files > 0 {
        let (files, size) = (counted(given_up.files, "file"), bytes(given_up.bytes));
        add("deletes", format!("{files} ({size}) of its output and dead letters in {sink}"));
    }
    add("not touched", format!("the source {source}"));
    if let Some(before) = &given_up.sink_before {
        add("not touched", format!("what it wrote into its sink before this one, {before}"));
    }
    if !given_up.others.is_empty() {
        add("not touched", format!("{} in {sink}", others(&given_up.others)));
    }
    text.trim_end().to_owned()
}

/// `3 other files (a, b, c)`
fn others(names: &[String]) -> String {
    let named: Vec<String> = names.iter().take(NAMED_MAX).map(|name| line(name)).collect();
    let more = if names.len() > NAMED_MAX { ", ..." } else { "" };
    format!("{} ({}{more})", counted(names.len() as u64, "other file"), named.join(", "))
}

fn confirmed() -> Result<(), u8> {
    say!("give it up? [y/N]");
    let mut answer = String::new();
    if let Err(error) = stdin().lock().read_line(&mut answer) {
        say!("{}", Message::new(format!("the answer cannot be read: {error}")).hint("say --fresh --yes"));
        return Err(FAILED);
    }
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(refused("nothing was given up, and nothing was changed", "without --fresh the job goes on")),
    }
}

fn refused(what: &str, hint: &str) -> u8 {
    say!("{}", Message::new(what).hint(hint));
    REFUSED
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn what_goes_and_what_stays() {
        let given_up = GivenUp {
            logged: Some("0123456789abcdef".into()),
            unlogged: vec!["fedcba9876543210".into()],
            files: 1200,
            bytes: 3 << 20,
            others: ["a.csv", "b\u{1b}.csv", "c", "d", "e", "f"].map(String::from).into(),
            sink_before: Some("file:///before".into()),
            imported: 2,
            ..GivenUp::default()
        };
        expect![[r#"
            --fresh gives up job 0123456789abcdef, fedcba9876543210 with all that it has done:
              deletes     its checkpoint file:///checkpoint, with 2 files of imported ids
              deletes     1,200 files (3.0 MiB) of its output and dead letters in file:///out
              not touched the source file:///in
              not touched what it wrote into its sink before this one, file:///before
              not touched 6 other files (a.csv, b�.csv, c, d, e, ...) in file:///out"#]]
        .assert_eq(&described(&given_up, "file:///out", "file:///checkpoint", "file:///in"));
        let little = GivenUp { logged: Some("0123456789abcdef".into()), ..GivenUp::default() };
        expect![[r#"
            --fresh gives up job 0123456789abcdef with all that it has done:
              deletes     its checkpoint file:///checkpoint
              not touched the source file:///in"#]]
        .assert_eq(&described(&little, "file:///out", "file:///checkpoint", "file:///in"));
    }
}
