//! What people read when something is wrong, whole, through the real binary. Every file of `wrong/*.toml` is a pipeline file
//! with a mistake; the file beside it that ends in `.txt` is all that `wasmpipe plan` says about it. Who changes a
//! message looks at the difference with the eyes of somebody who sees nothing else: `UPDATE_EXPECT=1` writes it anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use expect_test::{Expect, expect, expect_file};

use crate::support::pipeline::pipeline;
use crate::support::{Workdir, guests, write_parquet};

/// What the pipeline files name: good and bad sources, components that are none.
fn workdir() -> Workdir {
    let workdir = Workdir::new();
    let strings = |values: &[Option<&str>]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
    let numbers = |values: &[i64]| -> ArrayRef { Arc::new(Int64Array::from(values.to_vec())) };
    let write = |file: &str, columns: Vec<(&str, ArrayRef)>| {
        let path = workdir.path(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_parquet(&path, &RecordBatch::try_from_iter(columns).unwrap(), 10);
    };
    let ids = strings(&[Some("a"), Some("b")]);
    write("in/a.parquet", vec![("id", ids.clone()), ("n", numbers(&[1, 2])), ("text", ids.clone())]);
    write("texts/a.parquet", vec![("id", ids.clone()), ("texts", ids.clone())]);
    write("doubled/a.parquet", vec![("n", numbers(&[1, 2])), ("double", numbers(&[2, 4]))]);
    write("strings/a.parquet", vec![("id", ids.clone()), ("n", ids.clone())]);
    write("nulls/a.parquet", vec![("id", strings(&[Some("a"), None])), ("n", numbers(&[1, 2]))]);
    write("floats/a.parquet", vec![("x", Arc::new(Float64Array::from(vec![1.0])))]);
    write("drift/a.parquet", vec![("n", numbers(&[1]))]);
    write("drift/b.parquet", vec![("n", ids)]);
    std::fs::write(workdir.path("module.wasm"), wat::parse_str("(module)").unwrap()).unwrap();
    std::fs::write(workdir.path("empty.wasm"), wat::parse_str("(component)").unwrap()).unwrap();
    std::fs::write(workdir.path("text.wat"), "(component)").unwrap();
    std::fs::write(workdir.path("program"), [&b"\x7fELF\x02\x01\x01"[..], &[0; 57]].concat()).unwrap();
    std::os::unix::fs::symlink(guests().join("hostile.wasm"), workdir.path("hostile.wasm")).unwrap();
    workdir
}

/// The workdir's own folder is another one each time.
fn stable(workdir: &Workdir, text: &[u8]) -> String {
    let text = String::from_utf8(text.to_vec()).unwrap();
    text.replace(workdir.path("").to_str().unwrap(), "/job/")
        .replace(workdir.path("").to_str().unwrap().trim_end_matches('/'), "/job")
}

fn wrong_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/it/wrong");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    files.sort();
    files
}

#[test]
fn wrong_pipeline_files_are_explained() {
    let workdir = workdir();
    let files = wrong_files();
    assert!(files.len() >= 40, "{} files", files.len());
    for file in files {
        std::fs::copy(&file, workdir.path("pipeline.toml")).unwrap();
        let output = workdir.command(&["plan", "pipeline.toml"]).env("RUST_BACKTRACE", "full").output().unwrap();
        let message = stable(&workdir, &output.stderr);
        let name = file.file_stem().unwrap().to_str().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{name}: {message}");
        let (problems, hints) = (message.matches("pipeline.toml").count() - 1, message.matches("\n  hint: ").count());
        assert!(problems >= 1 && hints >= problems, "{name}: a problem without a hint\n{message}");
        assert!(!workdir.path("out").exists() && !workdir.path("checkpoint").exists(), "{name} wrote something");
        expect_file![file.with_extension("txt")].assert_eq(&message);
    }
}

/// Runs a job over the numbers 0 to 19 and gives what it says.
#[expect(clippy::needless_pass_by_value, reason = "an expectation is written where it is used")]
fn run(stage: &str, code: i32, expected: Expect) {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..20, 20);
    std::os::unix::fs::symlink(guests().join("hostile.wasm"), workdir.path("hostile.wasm")).unwrap();
    workdir.pipeline(&format!(
        "[source]\npath = \"in\"\nid = \"id\"\n\n[[stage]]\ncomponent = \"hostile.wasm\"\n{stage}\n\n[sink]\npath = \"out\"\n\n\
         [run]\nworkers = 1\nreaders = 1\nblock_rows_max = 5\n"
    ));
    // What a person has set for other programs adds nothing.
    let output = workdir.command(&["run", "--quiet", "pipeline.toml"]).env("RUST_BACKTRACE", "full").output().unwrap();
    let message = stable(&workdir, &output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    let lines = message.lines().filter(|line| !line.starts_with("note: "));
    // A log line begins with the time.
    let untimed = lines.map(|line| match line.split_once(' ') {
        Some((time, line)) if time.ends_with('Z') => line.trim_start(),
        _ => line,
    });
    let lines = untimed.map(|line| format!("{}\n", masked(&masked(line, ".rs:"), "it wanted ")));
    expected.assert_eq(&lines.collect::<String>());
}

/// Lines of the guests' code, and what an allocator asks for, may change; that they are said may not.
fn masked(text: &str, before: &str) -> String {
    match text.split_once(before) {
        Some((start, rest)) => {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(rest.len());
            let colon = if rest[..end].ends_with(':') { ":" } else { "" };
            assert!(rest.starts_with(|c: char| c.is_ascii_digit()), "no number behind {before}: {text}");
            format!("{start}{before}N{colon}{}", masked(&rest[end..], before))
        }
        None => text.to_owned(),
    }
}

#[test]
fn a_row_that_fails_is_named() {
    run(
        "function = \"errors_on\"\nconfig = { at = [7] }",
        1,
        expect![[r#"
            error: stage 1 (errors_on) of /job/hostile.wasm (pipeline.toml, line 7): a.parquet row 7 (id="id-7"): 7 is refused
              hint: mend the row or the function, name another sink, which is empty, and run the same command again; or leave such rows out with on_error = "skip" or "dead-letter" in this stage
        "#]],
    );
}

#[test]
fn rows_that_are_left_out_are_named() {
    run(
        "function = \"errors_on\"\nconfig = { at = [7, 8, 9] }\non_error = \"skip\"",
        3,
        expect![[r#"
        WARN wasmpipe::pipeline::work: stage 1 (errors_on): a.parquet row 7 (id="id-7") left out: 7 is refused
        WARN wasmpipe::pipeline::work: stage 1 (errors_on): a.parquet row 8 (id="id-8") left out: 8 is refused
        WARN wasmpipe::pipeline::work: stage 1 (errors_on): a.parquet row 9 (id="id-9") left out: 9 is refused
    "#]],
    );
}

#[test]
fn a_panic_shows_its_message_and_its_line() {
    run(
        "function = \"panics_on\"\nconfig = { at = 7 }",
        1,
        expect![[r#"
            ERROR guest: panicked at src/hostile.rs:N: 7 is poison stage=stage 1 function=panics_on
            error: stage 1 (panics_on) of /job/hostile.wasm (pipeline.toml, line 7): a.parquet row 7 (id="id-7"): `panics_on` panicked at src/hostile.rs:N: 7 is poison
              hint: `wasmpipe udf test /job/hostile.wasm --function panics_on --config '{"at":7}' --input /job/in/a.parquet --skip 7 --rows 1` runs this row alone; mend the function to give an error for such a row; or leave such rows out with on_error = "skip" or "dead-letter" in this stage
        "#]],
    );
    run(
        "function = \"panics_on\"\nconfig = { at = 7 }\non_error = \"skip\"",
        3,
        expect![[r#"
            ERROR guest: panicked at src/hostile.rs:N: 7 is poison stage=stage 1 function=panics_on
            WARN wasmpipe::pipeline::work: stage 1 (panics_on): a.parquet row 7 (id="id-7") left out: `panics_on` panicked at src/hostile.rs:N: 7 is poison
        "#]],
    );
}

#[test]
fn a_trap_without_a_panic_shows_where() {
    let dies = |how| format!("function = \"dies\"\nconfig = {{ how = \"{how}\", at = 7 }}");
    run(
        &dies("divide_by_zero"),
        1,
        expect![[r#"
            ERROR guest: panicked at src/hostile.rs:N: attempt to divide by zero stage=stage 1 function=dies
            error: stage 1 (dies) of /job/hostile.wasm (pipeline.toml, line 7): a.parquet row 7 (id="id-7"): `dies` panicked at src/hostile.rs:N: attempt to divide by zero
              hint: `wasmpipe udf test /job/hostile.wasm --function dies --config '{"at":7,"how":"divide_by_zero"}' --input /job/in/a.parquet --skip 7 --rows 1` runs this row alone; mend the function to give an error for such a row; or leave such rows out with on_error = "skip" or "dead-letter" in this stage
        "#]],
    );
    run(
        &dies("out_of_bounds"),
        1,
        expect![[r#"
            error: stage 1 (dies) of /job/hostile.wasm (pipeline.toml, line 7): a.parquet row 7 (id="id-7"): `dies` trapped: out of bounds memory access in `hostile::hostile::dies`
              hint: `wasmpipe udf test /job/hostile.wasm --function dies --config '{"at":7,"how":"out_of_bounds"}' --input /job/in/a.parquet --skip 7 --rows 1` runs this row alone; mend the function to give an error for such a row; or leave such rows out with on_error = "skip" or "dead-letter" in this stage
        "#]],
    );
    run(
        &dies("unreachable"),
        1,
        expect![[r#"
            error: stage 1 (dies) of /job/hostile.wasm (pipeline.toml, line 7): a.parquet row 7 (id="id-7"): `dies` trapped: wasm `unreachable` instruction executed in `hostile::hostile::dies`
              hint: `wasmpipe udf test /job/hostile.wasm --function dies --config '{"at":7,"how":"unreachable"}' --input /job/in/a.parquet --skip 7 --rows 1` runs this row alone; mend the function to give an error for such a row; or leave such rows out with on_error = "skip" or "dead-letter" in this stage
        "#]],
    );
    run(
        &dies("abort"),
        1,
        expect![[r#"
            error: stage 1 (dies) of /job/hostile.wasm (pipeline.toml, line 7): a.parquet row 7 (id="id-7"): `dies` trapped: wasm `unreachable` instruction executed in `hostile::hostile::dies`
              hint: `wasmpipe udf test /job/hostile.wasm --function dies --config '{"at":7,"how":"abort"}' --input /job/in/a.parquet --skip 7 --rows 1` runs this row alone; mend the function to give an error for such a row; or leave such rows out with on_error = "skip" or "dead-letter" in this stage
        "#]],
    );
}

#[test]
fn a_limit_is_named() {
    run(
        "function = \"spin\"\nblock_seconds_max = 0.1",
        1,
        expect![[r#"
            WARN wasmpipe::pipeline::work: stage 1 (spin): `spin` ran out of time: block_seconds_max = 0.1 s, in the block a.parquet rows 0 to 4: its rows are called apart
            error: stage 1 (spin) of /job/hostile.wasm (pipeline.toml, line 7): a.parquet row 0 (id="id-0"): `spin` ran out of time: block_seconds_max = 0.1 s
              hint: raise `block_seconds_max` in this stage; or leave such rows out with on_error = "skip" or "dead-letter" in this stage
        "#]],
    );
    run(
        "function = \"grow\"\nmemory_bytes_max = \"32 MiB\"",
        1,
        expect![[r#"
            error: stage 1 (grow) of /job/hostile.wasm (pipeline.toml, line 7): a.parquet row 0 (id="id-0"): `grow` ran out of memory: memory_bytes_max = 33554432 bytes, it wanted N
              hint: raise `memory_bytes_max` in this stage; or leave such rows out with on_error = "skip" or "dead-letter" in this stage
        "#]],
    );
}

#[test]
fn a_changed_job_says_what_changed() {
    let workdir = workdir();
    let pipeline = "[source]\npath = \"in\"\n\n[[stage]]\ncomponent = \"hostile.wasm\"\nfunction = \"double\"\n\n\
                    [sink]\npath = \"out\"\n\n[checkpoint]\npath = \"checkpoint\"\n";
    let say = |pipeline: &str| {
        workdir.pipeline(pipeline);
        let output = workdir.wasmpipe(&["run", "--quiet", "pipeline.toml"]);
        (output.status.code(), stable(&workdir, &output.stderr))
    };
    assert_eq!(say(pipeline).0, Some(0));
    let (code, message) = say(&pipeline.replace("double", "shout"));
    assert_eq!(code, Some(2));
    expect![[r#"
        error: the job differs from the one that the checkpoint belongs to:
          stage 1 function: double -> shout
          sink columns: id: Utf8, n: Int64, text: Utf8, double: Int64 -> id: Utf8, n: Int64, text: Utf8, shout: Utf8
          hint: rows that are done keep their results. Go on for the others with --accept-change, or begin a new job with another checkpoint and an empty sink
    "#]].assert_eq(&message);
    std::fs::rename(workdir.path("out"), workdir.path("moved")).unwrap();
    let (code, message) = say(&pipeline.replace("\"out\"", "\"moved\""));
    assert_eq!(code, Some(2));
    expect![[r#"
        pipeline.toml:12:8: the checkpoint belongs to a job with other places
            12 | path = "checkpoint"
               |        ^^^^^^^^^^^^
          sink: file:///job/out -> file:///job/moved
          hint: if the job was moved, go on with --relocate; else run it where it began, or begin a new job with another checkpoint and an empty sink

        1 problem in pipeline.toml
    "#]]
    .assert_eq(&message);
    let (code, message) =
        say(&pipeline.replace("[checkpoint]\npath = \"checkpoint\"", "").replace("\"out\"", "\"moved\""));
    assert_eq!(code, Some(2));
    // The name of a job is random.
    let (before, after) = message.split_once("another job (").unwrap();
    expect![[r#"
        pipeline.toml:9:8: the sink file:///job/moved holds output of another job (NAME); its checkpoint is file:///job/checkpoint on this machine
             9 | path = "moved"
               |        ^^^^^^^
          hint: choose another, which is empty: a pipeline without [checkpoint] is a new job each time it runs

        1 problem in pipeline.toml
    "#]]
    .assert_eq(&format!("{before}another job (NAME{}", &after[after.find(')').unwrap()..]));
}

#[test]
fn after_an_accepted_change_the_rows_that_keep_their_results_are_counted() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..20, 20);
    let job = |at: u32| pipeline(&[&format!("hostile.errors_on\nconfig = {{ at = [{at}] }}")]);
    workdir.pipeline(&job(100));
    workdir.said(&["run", "--quiet", "pipeline.toml"], 0);
    workdir.numbers("b.parquet", 20..25, 5);
    workdir.pipeline(&job(200));
    let kept = "note: 20 rows of 1 object (a.parquet) were done before the job was changed, and keep these results; to do them \
                anew as well, begin a new job with another checkpoint and an empty sink\n";
    // Now, and whenever somebody asks again.
    for (change, begins) in [(true, "finished\n"), (false, "finished before; nothing to do\n")] {
        let mut args = vec!["run", "--quiet", "pipeline.toml", "--summary", "summary.json"];
        args.extend(change.then_some("--accept-change"));
        let said = workdir.said(&args, 0);
        assert!(said.starts_with(begins) && said.contains(kept), "{said}");
        let summary: serde_json::Value =
            serde_json::from_slice(&std::fs::read(workdir.path("summary.json")).unwrap()).unwrap();
        assert_eq!((&summary["rows_kept"], &summary["objects_kept"]), (&20.into(), &1.into()), "{summary}");
        assert_eq!(summary["objects_kept_named"], serde_json::json!(["a.parquet"]));
    }
    // What it computes again is what it computed first.
    workdir.pipeline(&job(100));
    let said = workdir.said(&["run", "--quiet", "pipeline.toml", "--accept-change"], 0);
    assert!(said.contains("note: 5 rows of 1 object (b.parquet) were done before"), "{said}");
}

/// The guest that is written by hand, whose author has other words in mind.
fn with_escapes() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/guests/bare/bare.wat");
    let wat = std::fs::read_to_string(path).unwrap();
    let replace = |text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    };
    let wat = replace(&wat, "Adds `negated`, which is -n.", r"\5cu001b[2J\5cu202e\5cnhint: forged\5cn\5cu009b31m.");
    let wat = replace(&wat, r"\22name\22: \22negated\22", r"\22name\22: \22n\5cn\5cu001b[1m\22");
    let wat = replace(&wat, "\"negated\\00\"", "\"n\\0a\\1b[1m\\00\"");
    replace(&wat, "the smallest int64 has no negative", r"no\0ahint: forged \1b[31m")
}

#[test]
fn o6_words_of_a_component_neither_steer_a_terminal_nor_forge_a_line() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", [1, i64::MIN], 2);
    std::fs::write(workdir.path("x.wat"), with_escapes()).unwrap();
    workdir.wasmpipe(&["udf", "build", "x.wat", "--out", "x.wasm"]);
    workdir.pipeline(
        "[source]\npath = \"in\"\n[[stage]]\ncomponent = \"x.wasm\"\nfunction = \"negate\"\non_error = \"skip\"\n[sink]\npath = \"out\"\n",
    );
    let test = ["udf", "test", "x.wasm", "--function", "negate", "--input", "in/a.parquet"];
    let commands: [&[&str]; 8] = [
        &["udf", "build", "x.wat", "--out", "x.wasm"],
        &["plan", "pipeline.toml"],
        &["check", "pipeline.toml"],
        &["udf", "inspect", "x.wasm"],
        &["udf", "inspect", "x.wasm", "--json"],
        &test,
        &["udf", "bench", "x.wasm", "--function", "negate", "--seconds", "0.1"],
        &["run", "--quiet", "pipeline.toml"],
    ];
    for command in commands {
        let output = workdir.wasmpipe(command);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!([Some(0), Some(3)].contains(&output.status.code()), "{command:?}: {said}");
        let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!said.contains(steers), "{command:?}: {said:?}");
        let is_forged = said.lines().any(|line| line.trim_start().starts_with("hint: forged"));
        let is_documentation = command == ["udf", "inspect", "x.wasm"];
        assert!(!is_forged || is_documentation, "{command:?}: {said}");
    }
}

/// What a terminal shows at the end, from what the program wrote to it: enough of a terminal to know.
fn shown(written: &str) -> Vec<String> {
    let (mut lines, mut row, mut column) = (vec![String::new()], 0_usize, 0_usize);
    let mut rest = written;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\r' => column = 0,
            '\n' => {
                row += 1;
                if lines.len() <= row {
                    lines.push(String::new());
                }
            }
            '\u{1b}' => {
                let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                let (code, number) = (&rest[end..=end], rest[1..end].parse().unwrap_or(0));
                match code {
                    "A" => row = row.checked_sub(number).expect("never above the first line"),
                    "J" => {
                        lines.truncate(row + 1);
                        lines[row].truncate(column);
                    }
                    other => panic!("the escape sequence {other} is not one of the display's"),
                }
                rest = &rest[end + 1..];
            }
            c => {
                lines[row].truncate(column);
                lines[row].push(c);
                column += c.len_utf8();
            }
        }
    }
    lines
}

/// Runs a slow job on a terminal of 70 columns and gives what was written to it, and how the program ended.
fn on_a_terminal(signal: &str) -> (String, i32) {
    const TERMINAL: &str = r#"
import fcntl, os, pty, signal, struct, sys, termios, time
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 70, 0, 0))
    os.environ["TERM"] = "xterm"
    os.execv(sys.argv[2], sys.argv[2:])
written, stopped = b"", False
while True:
    try:
        part = os.read(terminal, 65536)
    except OSError:
        break
    if not part:
        break
    written += part
    if sys.argv[1] and not stopped and written.count(b"[") >= 3:
        stopped = True
        os.kill(pid, getattr(signal, sys.argv[1]))
_, status = os.waitpid(pid, 0)
sys.stdout.buffer.write(written)
sys.exit(os.waitstatus_to_exitcode(status))
"#;
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..200, 20);
    workdir.pipeline(
        "[source]\npath = \"in\"\n[[stage]]\ncomponent = \"{guests}/hostile.wasm\"\nfunction = \"sleepy\"\n\
         config = { iterations = 6000000 }\n[sink]\npath = \"out\"\n[checkpoint]\npath = \"checkpoint\"\n\
         group_rows_max = 20\n[run]\nworkers = 1\nreaders = 1\nblock_rows_max = 5\n",
    );
    let python = std::env::var("WASMPIPE_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let wasmpipe = workdir.command(&["run", "pipeline.toml"]);
    let mut command = std::process::Command::new(python);
    command.args(["-c", TERMINAL, signal]).arg(wasmpipe.get_program()).args(wasmpipe.get_args());
    command.current_dir(workdir.path("")).envs(wasmpipe.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.is_empty(), "{said}");
    (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
}

#[test]
fn on_a_terminal_progress_is_redrawn_and_nothing_of_it_stays() {
    let (written, code) = on_a_terminal("");
    assert_eq!(code, 0, "{written}");
    assert!(written.matches("\x1b[2A").count() >= 3, "it is drawn once and again: {written:?}");
    assert!(written.contains("of 200 rows") && written.contains("committed in"), "{written:?}");
    let plain = written.replace("\x1b[2A\x1b[J", "");
    let drawn = plain.split(['\n', '\r']).filter(|line| line.contains("of 200 rows") || line.contains("elapsed"));
    let widest = drawn.map(|line| line.chars().count()).max();
    assert!(widest.unwrap() < 70, "a line reaches the edge and would wrap: {plain}");
    let shown = shown(&written);
    assert_eq!(shown[0], "finished", "{shown:?}");
    assert!(!shown.iter().any(|line| line.contains("of 200 rows")), "{shown:?}");
}

#[test]
fn a_stopped_run_leaves_the_terminal_clean() {
    let (written, code) = on_a_terminal("SIGINT");
    assert_eq!(code, 4, "{written}");
    let shown = shown(&written);
    assert_eq!(shown[0], "stopping: finishing what is in flight; once more to stop now", "{shown:?}");
    assert!(shown[1].starts_with("interrupted") && !shown.iter().any(|line| line.contains("% [")), "{shown:?}");
}
