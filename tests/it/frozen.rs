//! Jobs that earlier builds began. Every build reads them as they were read then, and finishes them.

use std::path::Path;

use crate::support::{Said, Workdir, once};

fn frozen() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/frozen/format-1")
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn a_checkpoint_of_format_1_says_what_it_said() {
    let workdir = Workdir::new();
    copy(&frozen().join("checkpoint"), &workdir.path("checkpoint"));
    let said: serde_json::Value =
        serde_json::from_slice(&std::fs::read(frozen().join("inspect.json")).unwrap()).unwrap();
    // Later builds may say more.
    let (said, now) = (said.as_object().unwrap(), workdir.inspect());
    for (key, value) in said {
        assert_eq!(&now[key], value, "{key}");
    }
}

#[test]
fn a_job_of_format_1_is_moved_and_finished() {
    let workdir = Workdir::new();
    copy(&frozen(), workdir.path("pipeline.toml").parent().unwrap());
    workdir.pipeline(&std::fs::read_to_string(frozen().join("pipeline.toml")).unwrap());
    let refused = workdir.run();
    assert!(refused.refused().contains("--relocate"), "{}", refused.error());
    let said = || Said { relocate: true, accept_change: true, ..Said::default() };
    let ran = workdir.run_as(said());
    let summary = ran.finished();
    assert_eq!((summary.rows_known, summary.rows_dead_lettered_in_all), (KNOWN, 2));
    let rows = (0..55).filter(|n| ![3, 33].contains(n)).map(|n| format!("id-{n}|{n}|{n}|{n}"));
    assert_eq!(workdir.output("out"), once(rows));
    assert_eq!(workdir.run_as(said()).finished().run, None);
}

/// Rows of the repacked object whose ids were done.
const KNOWN: u64 = 5;
