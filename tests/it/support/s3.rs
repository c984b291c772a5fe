//! Jobs on the S3 server of the tests: the same folder with a pipeline file, but what the pipeline file names lies in a
//! bucket.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use wasmpipe::commit::View;
use wasmpipe::observe::Progress;
use wasmpipe::pipeline::{self, Control};
use wasmpipe::store::{Environment, Location, Settings, Store, Unwatched, Watch};
use wasmpipe_s3::{KEY_ID, SECRET, Server};

use super::place::{Objects, view};
use super::{Multiset, Ran, Said, Workdir, add_rows, plan_as, told};

/// Part of no other text: whoever prints it is found out.
pub const TOKEN: &str = "t0kenThatNobodyMayPrint";

/// Who the tests are.
pub fn environment() -> Environment {
    Environment::of(variables())
}

fn variables() -> [(&'static str, &'static str); 3] {
    [("AWS_ACCESS_KEY_ID", KEY_ID), ("AWS_SECRET_ACCESS_KEY", SECRET), ("AWS_SESSION_TOKEN", TOKEN)]
}

/// A job, and the server that it works on. The server has one bucket, `bucket`.
pub struct OnS3 {
    pub workdir: Workdir,
    pub server: Server,
}

impl OnS3 {
    /// The workdir's `in/` becomes `s3://bucket/in/`. In the pipeline file `{store}` stands for how to reach the server.
    pub fn new(workdir: Workdir, pipeline: &str) -> OnS3 {
        let server = Server::start(&["bucket"]);
        let job = OnS3 { workdir, server };
        for (path, bytes) in job.workdir.snapshot("in") {
            let name = path.strip_prefix(job.workdir.path("")).unwrap().to_str().unwrap().to_owned();
            job.server.put(&format!("bucket/{name}"), bytes);
        }
        job.pipeline(pipeline);
        job
    }

    /// Writes `pipeline.toml`.
    pub fn pipeline(&self, text: &str) -> PathBuf {
        let store = format!(
            "store = {{ endpoint = \"{}\", allow_http = true, retries = 5, timeout_seconds = 20 }}",
            self.server.endpoint()
        );
        self.workdir.pipeline(&text.replace("{store}", &store))
    }

    pub fn run(&self) -> Ran {
        self.run_with(&Arc::new(Unwatched))
    }

    /// Runs the job in this process. What a run that died has sent has arrived when this returns.
    pub fn run_with<W: Watch + 'static>(&self, watch: &Arc<W>) -> Ran {
        // Whoever ran before is dead, whatever its heartbeat seemed to say.
        let said = Said { take_over: true, ..Said::default() };
        self.run_as(watch, said)
    }

    pub fn run_as<W: Watch + 'static>(&self, watch: &Arc<W>, said: Said) -> Ran {
        let plan = match plan_as(&self.workdir.path("pipeline.toml"), watch, said) {
            Ok(plan) => plan,
            Err(error) => return Ran { summary: None, error: Some(error) },
        };
        let (summary, error) = pipeline::run(plan, &Control::default(), &Arc::new(Progress::default()), |_| ());
        self.server.settle();
        Ran { summary: Some(summary), error: error.as_ref().map(told) }
    }

    /// Runs the real binary.
    pub fn wasmpipe(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.workdir.command(args);
        command.envs(variables()).env("AWS_ENDPOINT_URL", self.server.endpoint()).env("AWS_ALLOW_HTTP", "true");
        command
    }

    /// All that lies below a folder of the bucket, by name: `out/...`.
    pub fn objects(&self, folder: &str) -> Objects {
        let prefix = format!("bucket/{folder}/").replace("//", "/");
        let objects = self.server.objects(&prefix).into_iter();
        objects.map(|(name, bytes)| (name["bucket/".len()..].to_owned(), bytes)).collect()
    }

    /// The store that a section of the pipeline file names; `folder` is its path in the bucket.
    pub fn store(&self, name: &'static str, folder: &str, watch: &Arc<dyn Watch>) -> Store {
        let location = Location::parse(&format!("s3://bucket/{folder}"), Path::new("/")).unwrap();
        let endpoint = Some(self.server.endpoint());
        let settings = Settings { endpoint, allow_http: Some(true), ..Settings::default() };
        Store::open(name, &location, &settings, &environment(), watch).unwrap()
    }

    /// What the log says.
    pub fn view(&self) -> View {
        let watch: Arc<dyn Watch> = Arc::new(Unwatched);
        view(&self.store("checkpoint", "checkpoint", &watch))
    }

    /// The rows of every Parquet file right below `prefix`, as a reader who globs it sees them.
    pub fn output(&self, prefix: &str) -> Multiset {
        let mut rows = Multiset::new();
        for (name, bytes) in self.server.objects(prefix) {
            if name.ends_with(".parquet") && !name[prefix.len()..].contains('/') {
                let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
                reader.map(Result::unwrap).for_each(|batch| add_rows(&mut rows, &batch));
            }
        }
        rows
    }

    /// `checkpoint inspect --json` of `s3://bucket/checkpoint`.
    pub fn inspect(&self) -> serde_json::Value {
        let output = self.wasmpipe(&["checkpoint", "inspect", "--json", "s3://bucket/checkpoint"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}
