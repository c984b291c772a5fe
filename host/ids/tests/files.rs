//! What a build does to folders: nothing is left behind, an old file is replaced whole, errors name the file.

use std::fs;
use std::path::Path;

use wasmpipe_ids::{BuildError, Builder, ID_BYTES_MAX, Ids};

/// Enough ids for many runs and merges in steps.
fn add_many(builder: &mut Builder) {
    for id in 0..500u32 {
        builder.add(&id.to_le_bytes()).expect("add");
    }
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
    let mut builder = Builder::new(folder.path(), 100);
    add_many(&mut builder);
    assert_eq!(entries(folder.path()).len(), 1, "runs are in one folder");
    drop(builder);
    assert_eq!(entries(folder.path()), [""; 0]);
}

#[test]
fn a_failed_finish_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut builder = Builder::new(folder.path(), 100);
    add_many(&mut builder);
    let error = builder.finish(&folder.path().join("missing/out.ids")).expect_err("no such folder");
    assert!(
        matches!(&error, BuildError::Io { action: "create", path, .. } if path.starts_with(folder.path().join("missing")))
    );
    assert!(error.to_string().contains("\nhint: "), "{error}");
    assert_eq!(entries(folder.path()), [""; 0]);

    let out = folder.path().join("taken");
    fs::create_dir(&out).expect("a folder where the file should be");
    let mut builder = Builder::new(folder.path(), 100);
    add_many(&mut builder);
    assert!(matches!(builder.finish(&out), Err(BuildError::Io { action: "rename to", .. })));
    assert_eq!(entries(folder.path()), ["taken"]);
}

#[test]
fn builders_share_a_scratch_folder_and_replace_a_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out.ids");
    let mut builders: Vec<Builder> = (0..3).map(|_| Builder::new(folder.path(), 50)).collect();
    for (number, builder) in builders.iter_mut().enumerate() {
        add_many(builder);
        builder.add(format!("builder {number}").as_bytes()).expect("add");
    }
    for (number, builder) in builders.into_iter().enumerate() {
        assert_eq!(builder.finish(&out).expect("finish").ids, 501);
        let set = Ids::open(fs::read(&out).expect("a file")).expect("whole");
        assert_eq!(set.contains(format!("builder {number}").as_bytes()), Ok(true));
    }
    assert_eq!(entries(folder.path()), ["out.ids"]);
}

#[test]
fn a_missing_scratch_folder_is_an_error_with_a_path() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let scratch = folder.path().join("missing");
    let error = Builder::new(&scratch, 100).finish(&folder.path().join("out.ids")).expect_err("no scratch");
    assert!(error.to_string().contains(&scratch.display().to_string()), "{error}");
    assert_eq!(entries(folder.path()), [""; 0]);
}

#[test]
fn a_changed_run_is_noticed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut builder = Builder::new(folder.path(), 200);
    for id in [b"m", b"n", b"o", b"a", b"b", b"c", b"x", b"y", b"z"] {
        builder.add(id).expect("add");
    }
    let scratch = folder.path().join(&entries(folder.path())[0]);
    let run = scratch.join("0");
    let mut bytes = fs::read(&run).expect("the first run");
    bytes[4] = b'z';
    fs::write(&run, bytes).expect("write");
    let error = builder.finish(&folder.path().join("out.ids")).expect_err("out of order");
    assert!(matches!(error, BuildError::ScratchDamaged { .. }), "{error}");
}

#[test]
fn ids_have_a_limit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut builder = Builder::new(folder.path(), 1000);
    let error = builder.add(&vec![0; ID_BYTES_MAX + 1]).expect_err("too long");
    assert_eq!(
        error.to_string(),
        "an id of 67108865 bytes exceeds id_bytes_max = 67108864\nhint: choose a shorter column as id"
    );
    builder.add(b"short").expect("the builder goes on");
    assert_eq!(builder.finish(&folder.path().join("out.ids")).expect("finish").ids, 1);
}
