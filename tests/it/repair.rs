//! What `checkpoint verify --repair` must not touch: older copies of a log, and what a younger one has in the sink.

use wasmpipe::commit::{self, Lane, Root, Writer};

use crate::support::pipeline::twice;
use crate::support::place::{Kind, Objects, Place, wait};
use crate::support::{assert_mentions, each_twice};

/// Forty rows, done.
fn finished() -> Place {
    let place = Place::new(Kind::Local, &twice());
    place.numbers("a.parquet", 0..40, 10);
    place.run().finished();
    place
}

/// Nothing is wrong with the checkpoint any more, and it gives each row exactly once.
#[track_caller]
fn assert_mended(place: &Place, rows: std::ops::Range<i64>, context: &str) {
    let (code, said) = verify(place, &[]);
    assert_eq!(code, Some(0), "{context}: {said}");
    place.assert_manifest_is_folder(&place.view(), context);
    assert_eq!(place.output(), each_twice(rows), "{context}");
    place.assert_settled(context);
}

fn verify(place: &Place, more: &[&str]) -> (Option<i32>, String) {
    let output = place.workdir().wasmpipe(&[&["checkpoint", "verify", "checkpoint"], more].concat());
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

// --- older copies ---

fn copy(place: &Place, from: &str, to: &str) {
    for (name, bytes) in place.objects(from) {
        place.overwrite(&format!("{to}{}", &name[from.len()..]), bytes);
    }
}

fn rename(place: &Place, from: &str, to: &str) {
    std::fs::rename(place.workdir().path(from), place.workdir().path(to)).unwrap();
}

/// A finished job that has grown and was finished again, with its checkpoint from before in the place of `younger`.
fn put_back_too_early() -> Place {
    let place = finished();
    copy(&place, "checkpoint", "older");
    place.numbers("b.parquet", 40..60, 10);
    place.run().finished();
    rename(&place, "checkpoint", "younger");
    rename(&place, "older", "checkpoint");
    place
}

/// What lies in the sink is what the younger log says.
#[track_caller]
fn assert_younger_is_whole(place: &Place) {
    std::fs::remove_dir_all(place.workdir().path("checkpoint")).unwrap();
    rename(place, "younger", "checkpoint");
    assert_mended(place, 0..60, "the younger log");
}

fn tear(place: &Place) {
    place.overwrite("checkpoint/lane/0/0000000001", &b"{"[..]);
}

fn everything_of(place: &Place) -> (Objects, Objects) {
    (place.objects("checkpoint"), place.objects("out"))
}

#[test]
fn p18_a_repair_leaves_an_older_copy_as_it_is_and_the_files_of_the_younger_log_alone() {
    let place = put_back_too_early();
    tear(&place);
    let before = everything_of(&place);
    let (code, said) = verify(&place, &["--repair"]);
    assert_eq!(code, Some(2), "{said}");
    assert_mentions(&said, &["has a manifest of this job", "put the checkpoint back as it was"]);
    assert!(everything_of(&place) == before, "{said}");
    assert_younger_is_whole(&place);
}

/// A build from before has opened its lanes so often that it is no shorter than the younger log was.
#[test]
fn p18_a_repair_of_an_older_copy_that_was_used_leaves_files_that_the_manifest_names() {
    let place = put_back_too_early();
    let store = place.store("checkpoint", "checkpoint");
    for _ in 0..10 {
        let writer = Writer::new();
        let open = Lane::open(&store, 0, &writer, async || Root::last_link(&store).await);
        wait(async { open.await?.close(commit::Close::Stopped).await }).unwrap();
    }
    tear(&place);
    let before = place.objects("out");
    let (code, said) = verify(&place, &["--repair"]);
    assert_eq!(code, Some(1), "{said}");
    assert_mentions(&said, &["is named by the job's manifest", "the rest was mended", "put the checkpoint back"]);
    assert!(place.objects("out") == before, "{said}");
    assert_younger_is_whole(&place);
}
