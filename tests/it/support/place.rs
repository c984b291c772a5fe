//! Jobs that do not care where they lie: source, sink and checkpoint are folders, or prefixes of a bucket on the S3 server
//! of the tests. And what must hold wherever they lie: the log, the manifest and the sink say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, StringArray, UInt64Array};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use wasmpipe::commit::{self, LetterReader, View};
use wasmpipe::store::{Location, Settings, Store, Unwatched, Watch};

use super::s3::{OnS3, environment};
use super::{Bench, Multiset, Ran, Said, add_rows, number_batch, run_as, write_parquet};

/// Which kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Local,
    S3,
}

/// A job and where it lies.
pub enum Place {
    Local(Bench),
    S3(OnS3),
}

/// Objects by their name below the place: `out/...`, `checkpoint/...`.
pub type Objects = BTreeMap<String, Bytes>;

impl Place {
    /// In the pipeline file `{root}` stands for what comes before `in`, `out` and `checkpoint`, and `{store}` for how to
    /// reach the store.
    pub fn new(kind: Kind, pipeline: &str) -> Place {
        let text = pipeline.replace("{root}", if kind == Kind::S3 { "s3://bucket/" } else { "" });
        match kind {
            Kind::S3 => Place::S3(OnS3::new(Bench::quick(), &text)),
            Kind::Local => {
                let bench = Bench::quick();
                bench.pipeline(&text.replace("{store}\n", ""));
                Place::Local(bench)
            }
        }
    }

    pub fn bench(&self) -> &Bench {
        match self {
            Place::Local(bench) => bench,
            Place::S3(job) => &job.bench,
        }
    }

    /// Writes the source's object `name`, of columns `id` and `n`.
    pub fn numbers(&self, name: &str, numbers: impl IntoIterator<Item = i64>, group: usize) {
        let path = self.bench().path("in").join(name);
        write_parquet(&path, &number_batch(numbers), group);
        if let Place::S3(job) = self {
            job.server.put(&format!("bucket/in/{name}"), std::fs::read(&path).unwrap());
        }
    }

    /// Removes an object.
    pub fn remove(&self, name: &str) {
        match self {
            Place::Local(bench) => std::fs::remove_file(bench.path(name)).unwrap(),
            Place::S3(job) => job.server.remove(&format!("bucket/{name}")),
        }
    }

    /// Replaces an object's bytes.
    pub fn overwrite(&self, name: &str, bytes: impl Into<Bytes>) {
        match self {
            Place::Local(bench) => std::fs::write(bench.path(name), bytes.into()).unwrap(),
            Place::S3(job) => job.server.put(&format!("bucket/{name}"), bytes),
        }
    }

    pub fn run(&self) -> Ran {
        self.run_as(&Arc::new(Unwatched), Said::default())
    }

    pub fn run_with<W: Watch + 'static>(&self, watch: &Arc<W>) -> Ran {
        self.run_as(watch, Said::default())
    }

    pub fn take_over(&self) -> Ran {
        self.run_as(&Arc::new(Unwatched), Said { take_over: true, ..Said::default() })
    }

    pub fn run_as<W: Watch + 'static>(&self, watch: &Arc<W>, said: Said) -> Ran {
        match self {
            Place::Local(bench) => run_as(&bench.path("pipeline.toml"), watch, said),
            Place::S3(job) => job.run_as(watch, said),
        }
    }

    /// All that lies below `prefix`.
    pub fn objects(&self, prefix: &str) -> Objects {
        let below = |name: &str, root: &str| name.strip_prefix(root).unwrap().to_string();
        match self {
            Place::Local(bench) => {
                let root = format!("{}/", bench.path("").display()).replace("//", "/");
                let files = bench.snapshot(prefix).into_iter();
                files.map(|(path, bytes)| (below(path.to_str().unwrap(), &root), bytes.into())).collect()
            }
            Place::S3(job) => {
                let objects = job.server.objects(&format!("bucket/{prefix}")).into_iter();
                objects.map(|(name, bytes)| (below(&name, "bucket/"), bytes)).collect()
            }
        }
    }

    /// The store that a section of the pipeline file names; `folder` is its path.
    pub fn store(&self, name: &'static str, folder: &str) -> Store {
        self.store_with(name, folder, &Arc::new(Unwatched))
    }

    pub fn store_with<W: Watch + 'static>(&self, name: &'static str, folder: &str, watch: &Arc<W>) -> Store {
        let watch: Arc<dyn Watch> = Arc::<W>::clone(watch);
        match self {
            Place::Local(bench) => Store::local(name, &bench.path(folder), &watch).unwrap(),
            Place::S3(job) => {
                let location = Location::parse(&format!("s3://bucket/{folder}"), Path::new("/")).unwrap();
                let endpoint = Some(job.server.endpoint());
                let settings = Settings { endpoint, allow_http: Some(true), ..Settings::default() };
                Store::open(name, &location, &settings, &environment(), &watch).unwrap()
            }
        }
    }

    /// The rows that a reader of the folder sees.
    pub fn output(&self) -> Multiset {
        let mut rows = Multiset::new();
        for (name, bytes) in self.objects("out/") {
            if name.ends_with(".parquet") && !name["out/".len()..].contains('/') {
                batches(&bytes).iter().for_each(|batch| add_rows(&mut rows, batch));
            }
        }
        rows
    }

    /// What the log says.
    pub fn view(&self) -> View {
        wait(commit::view(&self.store("checkpoint", "checkpoint"))).unwrap().expect("a job")
    }

    /// The dead letters that count, by object and row, and how often each is there.
    pub fn letters(&self, view: &View) -> BTreeMap<(String, u64), u64> {
        let sink = self.store("sink", "out");
        let mut letters = BTreeMap::new();
        for lane in &view.lanes {
            let mut reader = LetterReader::new(&sink, &lane.state);
            while let Some(batch) = wait(reader.next()).unwrap() {
                let objects: &StringArray = batch.column(0).as_any().downcast_ref().unwrap();
                let rows: &UInt64Array = batch.column(1).as_any().downcast_ref().unwrap();
                for (object, row) in objects.iter().zip(rows) {
                    *letters.entry((object.unwrap().to_string(), row.unwrap())).or_default() += 1;
                }
            }
        }
        letters
    }

    /// What the log names, what the manifest names and what lies there are the same files.
    #[track_caller]
    pub fn assert_manifest_is_folder(&self, view: &View, context: &str) {
        let files = view.files().chain(view.dead_letters()).map(|file| file.path.clone());
        let named: BTreeSet<String> = files.collect();
        let manifest = format!("_wasmpipe/{}.json", view.root.genesis.job);
        let all = self.objects("out/");
        let found = all.keys().map(|name| name["out/".len()..].to_string());
        let found: BTreeSet<String> = found.filter(|name| *name != manifest).collect();
        assert_eq!(found, named, "{context}");
        let manifest: serde_json::Value = serde_json::from_slice(&all[&format!("out/{manifest}")]).unwrap();
        let paths = |key: &str| -> Vec<String> {
            let files = manifest[key].as_array().unwrap().iter();
            files.map(|file| file["path"].as_str().unwrap().to_string()).collect()
        };
        let listed: BTreeSet<String> = paths("files").into_iter().chain(paths("dead_letters")).collect();
        assert_eq!(listed, named, "{context}");
    }

    /// One more run has nothing to do and writes nothing.
    #[track_caller]
    pub fn assert_settled(&self, context: &str) {
        let before = (self.objects("checkpoint/"), self.objects("out/"));
        assert_eq!(self.run().finished().run, None, "{context}");
        assert!((self.objects("checkpoint/"), self.objects("out/")) == before, "a finished job wrote: {context}");
    }
}

fn batches(bytes: &Bytes) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}

pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
