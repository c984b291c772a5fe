//! What a build does to folders: nothing is left behind, an old file is replaced whole, errors name the file.

mod support;

use std::fs;
use std::path::Path;

use support::{Owned, ask};
use wasmpipe_ids::{BuildError, Builder, ID_BYTES_MAX, Ids};

/// Enough ids for many runs and merges in steps.
fn add_many(builder: &Builder) {
    for id in 0..500u32 {
        add(builder, &id.to_le_bytes());
    }
}

fn add(builder: &Builder, id: &[u8]) {
    builder.add(Owned::strings([id]).column()).expect("add");
}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_dropped_builder_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let builder = Builder::new(folder.path(), 100, 2);
    add_many(&builder);
    assert_eq!(entries(folder.path()).len(), 1, "runs are in one folder");
    drop(builder);
    assert_eq!(entries(folder.path()), [""; 0]);
}

#[test]
fn a_failed_finish_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let builder = Builder::new(folder.path(), 100, 2);
    add_many(&builder);
    let error = builder.finish(&folder.path().join("missing/out.ids")).expect_err("no such folder");
    assert!(
        matches!(&error, BuildError::Io { action: "create", path, .. } if path.starts_with(folder.path().join("missing")))
    );
    assert_eq!(error.hint(), "the folder must exist, be writable and have room; then build again");
    assert_eq!(entries(folder.path()), [""; 0]);

    let out = folder.path().join("taken");
    fs::create_dir(&out).expect("a folder where the file should be");
    let builder = Builder::new(folder.path(), 100, 2);
    add_many(&builder);
    assert!(matches!(builder.finish(&out), Err(BuildError::Io { action: "rename to", .. })));
    assert_eq!(entries(folder.path()), ["taken"]);
}

#[test]
fn builders_share_a_scratch_folder_and_replace_a_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out.ids");
    let builders: Vec<Builder> = (0..3).map(|_| Builder::new(folder.path(), 50, 2)).collect();
    for (number, builder) in builders.iter().enumerate() {
        add_many(builder);
        add(builder, format!("builder {number}").as_bytes());
    }
    for (number, builder) in builders.into_iter().enumerate() {
        assert_eq!(builder.finish(&out).expect("finish").ids, 501);
        let set = Ids::open(fs::read(&out).expect("a file")).expect("whole");
        assert_eq!(ask(&set, &Owned::strings([format!("builder {number}")])), Ok(vec![true]));
    }
    assert_eq!(entries(folder.path()), ["out.ids"]);
}

#[test]
fn a_missing_scratch_folder_is_an_error_with_a_path() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let scratch = folder.path().join("missing");
    let builder = Builder::new(&scratch, 100, 2);
    let error = builder.add(Owned::strings(["a"; 9]).column()).expect_err("no scratch");
    assert!(error.to_string().contains(&scratch.display().to_string()), "{error}");
    assert_eq!(entries(folder.path()), [""; 0]);
}

#[test]
fn a_changed_run_is_noticed() {
    let numbers = Owned::Numbers((0..2000).map(|i| i * i * 1000).collect());
    let strings = Owned::strings([b"m", b"n", b"o", b"a", b"b", b"c", b"x", b"y", b"z"]);
    let stretch = Owned::Numbers((0..2000).collect());
    for (batch, file, at) in [(numbers, "0", 200), (strings, "1", 4), (stretch, "0", 8)] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let builder = Builder::new(folder.path(), 200, 2);
        builder.add(batch.column()).expect("add");
        builder.add(batch.column()).expect("add");
        let run = folder.path().join(&entries(folder.path())[0]).join(file);
        let mut bytes = fs::read(&run).expect("the first run");
        bytes[at] = bytes[at].wrapping_add(100);
        fs::write(&run, bytes).expect("write");
        let error = builder.finish(&folder.path().join("out.ids")).expect_err("not what was written");
        assert!(matches!(error, BuildError::ScratchDamaged { .. }), "{error}");
    }
}

#[test]
fn ids_have_a_limit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let builder = Builder::new(folder.path(), 1000, 2);
    let error = builder.add(Owned::strings([vec![0; ID_BYTES_MAX + 1]]).column()).expect_err("too long");
    assert_eq!(error.to_string(), "an id of 67108865 bytes exceeds id_bytes_max = 67108864");
    assert_eq!(error.hint(), "choose a shorter column as id");
    let error = builder.finish(&folder.path().join("out.ids")).expect_err("an id is missing");
    assert_eq!(error.to_string(), "ids are missing, since adding them failed");
    assert_eq!(error.hint(), "build again");
    assert_eq!(entries(folder.path()), [""; 0]);
}
