//! Jobs that do not care where they lie: source, sink and checkpoint are folders, or prefixes of a bucket on the S3 server
//! of the tests. And what must hold wherever they lie: the log, the manifest and the sink say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, StringArray, UInt64Array};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use wasmpipe::commit::{self, LetterReader, View};
use wasmpipe::sink::OutputKind;
use wasmpipe::store::{Store, Unwatched, Watch};
use wasmpipe_s3::Server;

use super::s3::OnS3;
use super::{Multiset, Ran, Said, Workdir, add_rows, number_batch, run_as, write_parquet};

/// Which kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Local,
    S3,
}

/// A job and where it lies.
pub enum Place {
    Local(Workdir),
    S3(OnS3),
}

/// Objects by their name below the place: `out/...`, `checkpoint/...`.
pub type Objects = BTreeMap<String, Bytes>;

impl Place {
    /// With a pipeline file that can lie [anywhere](super::pipeline::Pipeline::anywhere).
    pub fn new(kind: Kind, pipeline: &(impl Display + ?Sized)) -> Place {
        Place::of(Workdir::quick(), kind, pipeline)
    }

    /// As [`Place::new`], with objects that are there already. If it is local, it is on a disk.
    pub fn with(kind: Kind, objects: &Objects, pipeline: &(impl Display + ?Sized)) -> Place {
        let place = Place::of(Workdir::new(), kind, pipeline);
        objects.iter().for_each(|(name, bytes)| place.overwrite(name, bytes.clone()));
        place
    }

    fn of(workdir: Workdir, kind: Kind, pipeline: &(impl Display + ?Sized)) -> Place {
        let pipeline = pipeline.to_string();
        match kind {
            Kind::S3 => Place::S3(OnS3::new(workdir, &pipeline.replace("{root}", "s3://bucket/"))),
            Kind::Local => {
                workdir.pipeline(&here(&pipeline));
                Place::Local(workdir)
            }
        }
    }

    pub fn workdir(&self) -> &Workdir {
        match self {
            Place::Local(workdir) => workdir,
            Place::S3(job) => &job.workdir,
        }
    }

    pub fn server(&self) -> &Server {
        match self {
            Place::Local(_) => panic!("a folder has no server"),
            Place::S3(job) => &job.server,
        }
    }

    /// Writes the source's object `name`, of columns `id` and `n`.
    pub fn numbers(&self, name: &str, numbers: impl IntoIterator<Item = i64>, group: usize) {
        let path = self.workdir().path("in").join(name);
        write_parquet(&path, &number_batch(numbers), group);
        if let Place::S3(job) = self {
            job.server.put(&format!("bucket/in/{name}"), std::fs::read(&path).unwrap());
        }
    }

    /// Removes an object.
    pub fn remove(&self, name: &str) {
        match self {
            Place::Local(workdir) => std::fs::remove_file(workdir.path(name)).unwrap(),
            Place::S3(job) => job.server.remove(&format!("bucket/{name}")),
        }
    }

    /// Writes an object, or replaces its bytes.
    pub fn overwrite(&self, name: &str, bytes: impl Into<Bytes>) {
        match self {
            Place::Local(workdir) => {
                std::fs::create_dir_all(workdir.path(name).parent().unwrap()).unwrap();
                std::fs::write(workdir.path(name), bytes.into()).unwrap();
            }
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
            Place::Local(workdir) => run_as(&workdir.path("pipeline.toml"), watch, said),
            Place::S3(job) => job.run_as(watch, said),
        }
    }

    /// All that lies below a folder. What is deleted meanwhile is not there.
    pub fn objects(&self, folder: &str) -> Objects {
        match self {
            Place::Local(workdir) => workdir.objects(folder),
            Place::S3(job) => job.objects(folder),
        }
    }

    /// The names of all that lies below a folder.
    pub fn names(&self, folder: &str) -> Vec<String> {
        match self {
            Place::Local(workdir) => workdir.files(folder).iter().map(|path| workdir.name(path)).collect(),
            Place::S3(job) => job.objects(folder).into_keys().collect(),
        }
    }

    /// The store that a section of the pipeline file names; `folder` is its path.
    pub fn store(&self, name: &'static str, folder: &str) -> Store {
        self.store_with(name, folder, &Arc::new(Unwatched))
    }

    pub fn store_with<W: Watch + 'static>(&self, name: &'static str, folder: &str, watch: &Arc<W>) -> Store {
        let watch: Arc<dyn Watch> = Arc::<W>::clone(watch);
        match self {
            Place::Local(workdir) => workdir.store(name, folder, &watch),
            Place::S3(job) => job.store(name, folder, &watch),
        }
    }

    /// The rows that a reader of the folder sees.
    pub fn output(&self) -> Multiset {
        let objects = self.objects("out");
        let is_output = |name: &str| name.ends_with(".parquet") && !name["out/".len()..].contains('/');
        let names: BTreeSet<String> = objects.into_keys().filter(|name| is_output(name)).collect();
        self.rows_of(&names)
    }

    /// The rows of some objects.
    pub fn rows_of(&self, names: &BTreeSet<String>) -> Multiset {
        let mut rows = Multiset::new();
        for (_, bytes) in self.objects("out").iter().filter(|(name, _)| names.contains(*name)) {
            batches(bytes).iter().for_each(|batch| add_rows(&mut rows, batch));
        }
        rows
    }

    /// What the log says.
    pub fn view(&self) -> View {
        view(&self.store("checkpoint", "checkpoint"))
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

    /// As [`assert_log_is_folder`]. Nor is there an upload that is neither complete nor given up.
    #[track_caller]
    pub fn assert_log_is_folder(&self, context: &str) {
        assert_log_is_folder(&self.view(), &self.objects("out"), context);
        self.assert_no_uploads(context);
    }

    /// As [`assert_manifest_is_folder`]. Nor is there an upload that is neither complete nor given up.
    #[track_caller]
    pub fn assert_manifest_is_folder(&self, view: &View, context: &str) {
        assert_manifest_is_folder(view, &self.objects("out"), context);
        self.assert_no_uploads(context);
    }

    #[track_caller]
    fn assert_no_uploads(&self, context: &str) {
        if let Place::S3(job) = self {
            assert_eq!(job.server.uploads(), [""; 0], "{context}");
        }
    }

    /// One more run has nothing to do and writes nothing.
    #[track_caller]
    pub fn assert_settled(&self, context: &str) {
        let before = (self.objects("checkpoint"), self.objects("out"));
        assert_eq!(self.run().finished().run, None, "{context}");
        assert!((self.objects("checkpoint"), self.objects("out")) == before, "a finished job wrote: {context}");
    }
}

/// What the log in this store says.
pub fn view(checkpoint: &Store) -> View {
    wait(commit::view(checkpoint)).unwrap().expect("a job")
}

/// What the log names, and what lies in the sink, are the same files, of the same size.
#[track_caller]
pub fn assert_log_is_folder(view: &View, sink: &Objects, context: &str) {
    let files = view.files();
    let mut named: Vec<(String, u64)> = files.map(|file| (format!("out/{}", file.path), file.bytes)).collect();
    named.sort();
    let found = sink.iter().filter(|(name, _)| !is_about_jobs(name));
    let found: Vec<(String, u64)> = found.map(|(name, bytes)| (name.clone(), bytes.len() as u64)).collect();
    assert_eq!(found, named, "{context}");
}

/// Whether a file of the sink is a claim, a manifest, or the mark of an object.
fn is_about_jobs(name: &str) -> bool {
    let is_mark = ["/_SUCCESS", "/_FAILED_ROWS"].iter().any(|mark| name.ends_with(mark));
    is_mark || (name.starts_with("out/_wasmpipe/") && !name.starts_with("out/_wasmpipe/dead-letters/"))
}

/// What the log names, what the manifest names and what lies in the sink are the same files.
#[track_caller]
pub fn assert_manifest_is_folder(view: &View, sink: &Objects, context: &str) {
    assert_log_is_folder(view, sink, context);
    let job = &view.root.genesis.job;
    let numbered = format!("out/_wasmpipe/{job}/");
    let last = sink.keys().rfind(|name| name.starts_with(&numbered) && name.ends_with(".json"));
    let Some(last) = last else { panic!("there is no manifest: {context}") };
    assert_eq!(sink[last], sink[&format!("out/_wasmpipe/{job}.json")], "the copy is another: {context}");
    let manifest: serde_json::Value = serde_json::from_slice(&sink[last]).unwrap();
    let [files, letters] = OutputKind::ALL.map(|kind| view.files_of(kind).collect::<Vec<_>>());
    assert_eq!(manifest["files"], serde_json::json!(files), "{context}");
    assert_eq!(manifest["dead_letters"], serde_json::json!(letters), "{context}");
    assert_eq!(manifest["rows"], files.iter().map(|file| file.rows).sum::<u64>(), "{context}");
    assert_eq!(manifest["job"], *job, "{context}");
}

/// A pipeline file that can lie anywhere, for folders beside it.
pub fn here(pipeline: &(impl Display + ?Sized)) -> String {
    pipeline.to_string().replace("{root}", "").replace("{store}\n", "")
}

fn batches(bytes: &Bytes) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}

pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
