//! A cache that cannot be used, or that somebody else could have written, costs time and no more.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::pipeline::{doubled, doubling, pipeline};
use crate::support::{Workdir, once};

fn job() -> Workdir {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..20, 20);
    workdir.pipeline(&doubling());
    workdir
}

/// Runs the job and gives what it says on stderr.
#[track_caller]
fn runs(mut command: Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    said
}

fn with_cache(workdir: &Workdir, cache: &Path) -> Command {
    let mut command = workdir.command(&["run", "--quiet", "pipeline.toml"]);
    command.env("WASMPIPE_CACHE", cache);
    command
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// A folder that others may write to.
fn shared(path: &Path, mode: u32) {
    std::fs::create_dir(path).unwrap();
    set_mode(path, mode);
}

/// What is wrong with a cache, how it comes to be, and what is said of it.
type Row<'a> = (&'a str, &'a dyn Fn(&Path), &'a str);

#[test]
fn a_cache_that_cannot_be_used_is_a_warning() {
    let rows: [Row; 5] = [
        ("a file", &|cache| std::fs::write(cache, "x").unwrap(), "Not a directory"),
        // Where nobody makes a folder, root included.
        ("read-only", &|cache| std::os::unix::fs::symlink("/proc/self/task", cache).unwrap(), ""),
        ("writable by a group", &|cache| shared(cache, 0o775), "(mode 775)"),
        ("writable by all", &|cache| shared(cache, 0o777), "(mode 777)"),
        (
            "another user's",
            &|cache| {
                std::fs::create_dir(cache).unwrap();
                // Only root may give it away.
                if std::os::unix::fs::chown(cache, Some(65534), None).is_err() {
                    set_mode(cache, 0o777);
                }
            },
            "",
        ),
    ];
    for (what, prepare, words) in rows {
        let workdir = job();
        let cache = workdir.path("cache");
        prepare(&cache);
        let said = runs(with_cache(&workdir, &cache));
        assert_eq!(said.matches("compiled components are not kept").count(), 1, "{what}: {said}");
        assert!(said.contains(words) && said.contains("WASMPIPE_CACHE names a folder of your own"), "{what}: {said}");
        assert_eq!(workdir.output("out"), doubled(0..20), "{what}");
        assert_eq!(workdir.files("cache/components").len(), 0, "{what}");
    }
}

#[test]
fn without_a_home_nothing_is_shared_in_the_folder_for_temporary_files() {
    let workdir = job();
    let temporary = workdir.path("temporary");
    std::fs::create_dir_all(temporary.join("wasmpipe/components")).unwrap();
    set_mode(&temporary.join("wasmpipe"), 0o777);
    let mut command = workdir.command(&["run", "--quiet", "pipeline.toml"]);
    for name in ["WASMPIPE_CACHE", "XDG_CACHE_HOME", "HOME"] {
        command.env_remove(name);
    }
    command.env("TMPDIR", &temporary);
    let said = runs(command);
    assert_eq!(said.matches("WASMPIPE_CACHE, XDG_CACHE_HOME and HOME are not set").count(), 1, "{said}");
    assert_eq!(workdir.output("out"), doubled(0..20));
    let left: Vec<_> = std::fs::read_dir(&temporary).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!((left, workdir.files("temporary").len()), (vec!["wasmpipe".into()], 0), "its own folder is gone");
}

#[test]
fn ids_are_asked_without_the_cache_of_ids() {
    for what in ["a file", "writable by all", "a link", "no file can be made"] {
        let workdir = Workdir::new();
        workdir.numbers("a.parquet", 0..20, 20);
        workdir.pipeline(&pipeline(&[]));
        std::fs::write(workdir.path("done.csv"), "id\nid-0\nid-1\n").unwrap();
        let (cache, temporary) = (workdir.path("cache"), workdir.path("temporary"));
        std::fs::create_dir(&temporary).unwrap();
        let mut import = workdir.command(&["checkpoint", "import", "pipeline.toml", "done.csv"]);
        import.env("WASMPIPE_CACHE", &cache);
        runs(import);
        let built = workdir.files("cache/ids").remove(0);
        std::fs::remove_dir_all(cache.join("ids")).unwrap();
        match what {
            "a file" => std::fs::write(cache.join("ids"), "x").unwrap(),
            "writable by all" => shared(&cache.join("ids"), 0o777),
            "a link" => std::os::unix::fs::symlink(&temporary, cache.join("ids")).unwrap(),
            _ => std::fs::create_dir_all(built.with_extension("lock")).unwrap(),
        }
        let mut command = with_cache(&workdir, &cache);
        command.env("TMPDIR", &temporary);
        let said = runs(command);
        assert_eq!(said.matches("this run builds an id file of its own").count(), 1, "{what}: {said}");
        assert_eq!(workdir.output("out"), once((2..20).map(|n| format!("id-{n}|{n}"))), "{what}");
        assert_eq!(workdir.files("temporary").len(), 0, "{what}: its own folder is gone");
    }
}
