//! What jobs leave in a sink about themselves, of any bytes: the log of claims, and manifests. What must hold: whoever may claim
//! the sink has it then, and nobody else beside it; and the manifest that a job leaves is the one that is read.

use std::path::Path as FsPath;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use wasmpipe::commit::{
    Claimant, FORMAT, Manifest, Place, Position, Standing, claim, is_place_of, is_taken_for_good, leave_manifest,
    manifest, manifest_of, number_name, refuse_if_gone_on, release, standing, whose,
};
use wasmpipe::store::{Store, Unwatched, Watch};

use crate::frozen;
use crate::seal;

/// The most documents that bytes are cut into.
const DOCUMENTS_MAX: usize = 16;
/// What ends a document.
const END: u8 = 0;

/// The bytes are documents that end with a zero byte, each led by a byte that says where it belongs: `c`: the next claim, `m`:
/// the job's next manifest, under the claim that the next byte numbers, `n`: the copy of the manifest. A capital letter: the
/// document is sealed first.
pub fn sink_documents(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without threads");
    runtime.block_on(async {
        let sink = Store::memory("sink");
        for (name, bytes) in documents(data) {
            put(&sink, name, bytes).await;
        }
        check(&sink).await;
    });
}

fn documents(data: &[u8]) -> Vec<(String, Bytes)> {
    let (mut claims, mut manifests) = (0.., 1..);
    let mut named = |place: u8, document: &[u8]| match (place.to_ascii_lowercase(), document) {
        (b'c', document) => Some((format!("_wasmpipe/claim/{}", number_name(claims.next()?)), document.to_vec())),
        (b'm', [claim @ b'0'..=b'9', document @ ..]) => {
            let (claim, log) = (number_name(u64::from(claim - b'0')), number_name(manifests.next()?));
            Some((format!("_wasmpipe/{}/{claim}-{log}.json", job()), document.to_vec()))
        }
        (b'n', document) => Some((format!("_wasmpipe/{}.json", job()), document.to_vec())),
        _ => None,
    };
    let documents = data.split(|byte| *byte == END).take(DOCUMENTS_MAX).filter_map(<[u8]>::split_first);
    let named = documents.filter_map(|(place, document)| Some((*place, named(*place, document)?)));
    let sealed =
        |place: u8, bytes: Vec<u8>| if place.is_ascii_uppercase() { seal::sealed(&bytes) } else { bytes.into() };
    named.map(|(place, (name, bytes))| (name, sealed(place, bytes))).collect()
}

async fn put(sink: &Store, name: String, bytes: Bytes) {
    let put = sink.objects().put(&Path::from(name), PutPayload::from(bytes)).await;
    put.expect("memory takes everything");
}

/// The frozen job.
fn job() -> &'static str {
    static JOB: LazyLock<String> = LazyLock::new(|| frozen::job(FORMAT).genesis().job);
    &JOB
}

/// A job with a checkpoint in this folder, which nobody reads.
fn claimant(job: &str, folder: &str) -> Claimant {
    let watch: Arc<dyn Watch> = Arc::new(Unwatched);
    let checkpoint = Store::local("checkpoint", &FsPath::new(env!("CARGO_MANIFEST_DIR")).join(folder), &watch);
    let place = Place::of(&checkpoint.expect("a folder of the tree"));
    Claimant { job: job.into(), place, shared: false, is_moved: true }
}

async fn check(sink: &Store) {
    let (me, other) = (claimant(job(), "src"), claimant("another job, which has claimed nothing", "targets"));
    look(sink, &me).await;
    let stands = standing(sink, &me).await.map_err(|error| error.to_string());
    let again = standing(sink, &me).await.map_err(|error| error.to_string());
    assert_eq!(stands, again, "the same claims, read twice");
    let Ok(stands) = stands else { return };
    let number = claim(sink, &me, stands.standing).await.expect("nobody else claims the sink").number;
    assert_eq!(standing(sink, &me).await.ok().map(|stands| stands.standing), Some(Standing::Held(number)));
    assert!(standing(sink, &other).await.is_err(), "two jobs have one sink");
    check_manifest(sink, number).await;
    release(sink, &me).await.expect("the claims can be read");
}

/// Whatever is asked about claims and manifests, there is an answer or an error.
async fn look(sink: &Store, me: &Claimant) {
    for job in [job(), "", "another"] {
        let _ = (
            whose(sink, job).await,
            refuse_if_gone_on(sink, job, (1, ""), std::iter::empty()).await,
            is_place_of(sink, job, &me.place).await,
        );
        if let Ok(Some(found)) = manifest(sink, job).await {
            assert_eq!(found.job, job, "the manifest of another job");
        }
    }
    let _ = (is_taken_for_good(sink, me).await, manifest_of(sink, &me.place).await);
}

/// Above all that documents are put under.
const LOG: u64 = 9_999_999_999;

async fn check_manifest(sink: &Store, claim: u64) {
    let position = Some(Position { claim, log: LOG });
    let (files, dead_letters) = (Vec::new(), Vec::new());
    let (fingerprint, listing, source_rows) = (None, None, None);
    let left = Manifest {
        format: FORMAT,
        job: job().into(),
        position,
        rows: 0,
        files,
        dead_letters,
        fingerprint,
        listing,
        source_rows,
    };
    leave_manifest(sink, &left).await.expect("memory takes everything");
    assert_eq!(manifest(sink, job()).await.expect("it is sound"), Some(left));
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let sink = FsPath::new(env!("CARGO_MANIFEST_DIR")).join("../frozen/format-2/out/_wasmpipe");
    let read = |name: &str| std::fs::read(sink.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (claim, manifest) = (read("claim/0000000000"), read(&format!("{}.json", job())));
    let stored = [&b"c"[..], &claim, b"\0m0", &manifest, b"\0n", &manifest].concat();
    let (claim, manifest) = (seal::opened(&claim), seal::opened(&manifest));
    let drafts = [&b"C"[..], &claim, b"\0M0", &manifest, b"\0N", &manifest].concat();
    let claims = MORE.map(|documents| documents.join("\0").replace("JOB", job()).into_bytes());
    [stored, drafts].into_iter().chain(claims).collect()
}

const MORE: [&[&str]; 3] = [
    &[
        r#"C{"entry":"claim","format":2,"job":"JOB","checkpoint":"file:///a","host":"h","boot":"b","mounts":"m","shared":false,"claimed_ms":1}"#,
        r#"C{"entry":"claim","format":2,"job":"JOB","checkpoint":"file:///b","host":"h","boot":"b","mounts":"m","shared":false,"claimed_ms":2}"#,
        r#"M1{"format":2,"job":"JOB","position":{"claim":1,"log":1},"rows":1,"files":[{"path":"a","rows":1,"bytes":9,"digest":""}]}"#,
        r#"n{"format":1,"job":"JOB","rows":1,"files":[{"path":"a","rows":1,"bytes":9}]}"#,
    ],
    &[
        r#"C{"entry":"claim","format":2,"job":"a","checkpoint":null,"host":"h","boot":"","mounts":"","shared":true,"claimed_ms":1}"#,
        r#"C{"entry":"claim","format":2,"job":"b","checkpoint":"s3://bucket/c","host":"","boot":"","mounts":"","shared":true,"claimed_ms":1}"#,
        r#"C{"entry":"release","format":2,"job":"b"}"#,
    ],
    &[
        r#"C{"entry":"claim","format":2,"job":"a","checkpoint":"file:///a","host":"h","boot":"b","mounts":"m","shared":false,"claimed_ms":1}"#,
        r#"C{"entry":"release","format":2,"job":"a"}"#,
        r#"C{"entry":"claim","format":3}"#,
    ],
];
