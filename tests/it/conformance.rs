//! What every format must stand, as a source and as a sink, with every compression, on every store: killed anywhere, a job's
//! output is that of the undisturbed one.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use wasmpipe::format::compression::Compression;

use crate::support::pipeline::{Pipeline, pipeline};
use crate::support::place::{Kind, Place};
use crate::support::random::Random;
use crate::support::seam::{Crash, Stop};
use crate::support::{Multiset, at_once, each_twice, inflated, is_soak, packed};

/// How names of source files end.
const SOURCES: [&str; 4] = ["parquet", "jsonl", "jsonl.gz", "jsonl.zst"];
/// Format and compression of the sink, and how names of its files end.
const SINKS: [(&str, &str, &str); 4] = [
    ("parquet", "zstd", "parquet"),
    ("jsonl", "none", "jsonl"),
    ("jsonl", "gzip", "jsonl.gz"),
    ("jsonl", "zstd", "jsonl.zst"),
];
const STORES: [Kind; 2] = [Kind::Local, Kind::S3];

/// Random kills of a combination outside of CI, besides every step.
const KILLS: u64 = 20;

#[derive(Clone, Copy, Debug)]
struct Combination {
    source: &'static str,
    sink: (&'static str, &'static str, &'static str),
    store: Kind,
}

fn combinations() -> Vec<Combination> {
    let pairs = SOURCES.iter().flat_map(|source| SINKS.iter().map(move |sink| (*source, *sink)));
    let all = pairs.flat_map(|(source, sink)| STORES.map(|store| Combination { source, sink, store }));
    all.collect()
}

impl Combination {
    fn job(&self) -> Pipeline {
        let (format, compression, _) = self.sink;
        let sink = format!("columns = [\"id\", \"twice\"]\nformat = \"{format}\"\ncompression = \"{compression}\"");
        let job = pipeline(&["hostile.twice"]).sink(&sink).checkpoint("group_rows_max = 10\nheartbeat_seconds = 0.05");
        job.run("workers = 1\nreaders = 1\nblock_rows_max = 4").anywhere()
    }

    /// Two objects with rows and one without.
    fn place(&self) -> Place {
        let place = Place::new(self.store, &self.job());
        for (name, numbers) in [("a", 0..25), ("b", 25..25), ("c", 25..40)] {
            let name = format!("{name}.{}", self.source);
            match self.source {
                "parquet" => place.numbers(&name, numbers, 8),
                _ => place.overwrite(&format!("in/{name}"), lines(numbers, Compression::of_name(&name))),
            }
        }
        place
    }

    /// The rows of the sink.
    fn output(&self, place: &Place) -> Multiset {
        let mut rows = Multiset::new();
        let mut add = |id: &str, twice: i64| *rows.entry(format!("{id}|{twice}")).or_default() += 1;
        let objects = place.objects("out");
        for (name, bytes) in objects.iter().filter(|(name, _)| !name.contains("/_wasmpipe/")) {
            assert!(name.ends_with(&format!(".{}", self.sink.2)), "{name}");
            match self.sink.0 {
                "parquet" => {
                    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).unwrap().build().unwrap();
                    for batch in reader.map(Result::unwrap) {
                        let twice = batch["twice"].as_primitive::<Int64Type>().values().iter();
                        batch["id"].as_string::<i32>().iter().zip(twice).for_each(|(id, n)| add(id.unwrap(), *n));
                    }
                }
                _ => {
                    for line in inflated(bytes, Compression::of_name(name)).lines() {
                        let row: Value = serde_json::from_str(line).unwrap();
                        add(row["id"].as_str().unwrap(), row["twice"].as_i64().unwrap());
                    }
                }
            }
        }
        rows
    }

    #[track_caller]
    fn assert_exactly_once(&self, place: &Place, context: &str) {
        assert_eq!(self.output(place), each_twice(0..40), "{self:?}: {context}");
        place.assert_manifest_is_folder(&place.view(), context);
        place.assert_settled(context);
    }

    fn killed(&self, stop: Stop) {
        let place = self.place();
        place.run_with(&Arc::new(Crash::at(stop)));
        place.take_over().finished();
        self.assert_exactly_once(&place, &format!("{stop:?}"));
    }
}

fn lines(numbers: std::ops::Range<i64>, compression: Compression) -> Bytes {
    let text: String = numbers.map(|n| format!("{{\"id\": \"id-{n}\", \"n\": {n}}}\n")).collect();
    packed(text.as_bytes(), compression).into()
}

#[test]
fn every_format_in_and_out_stands_a_kill_on_every_store() {
    let all = combinations();
    at_once(&all, |combination| {
        let undisturbed = Arc::new(Crash::never());
        let place = combination.place();
        place.run_with(&undisturbed).finished();
        combination.assert_exactly_once(&place, "undisturbed");
        let steps = undisturbed.steps();
        assert!(steps > 20, "{combination:?}: {steps} steps");
        let mut random = Random::of(&format!("{combination:?}"));
        let mut draw = || {
            let step = random.below(steps);
            if random.below(2) == 0 { Stop::Before(step) } else { Stop::After(step) }
        };
        if is_soak() {
            (0..KILLS).for_each(|_| combination.killed(draw()));
            (0..steps).for_each(|step| combination.killed(Stop::After(step)));
        } else {
            combination.killed(draw());
        }
    });
    let of_stores: BTreeMap<String, usize> =
        STORES.map(|store| (format!("{store:?}"), all.iter().filter(|one| one.store == store).count())).into();
    println!("{} combinations of source, sink and store: {of_stores:?}", all.len());
}
