//! The sorted id file on a host: every type of id, damage, little memory, little room, and several processes of one job. All with
//! the real binary, in a cache folder of the test's own. The jobs copy: what comes out is the rows that were not done.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use arrow::array::*;
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, TimeUnit, i256};
use expect_test::expect;

use crate::support::pipeline::{Pipeline, pipeline};
use crate::support::process::{Process, until};
use crate::support::{Multiset, Workdir, once, write_parquet};

/// A host with a cache and a job: `in/`, `pipeline.toml`, and `done.parquet` with ids that were done elsewhere.
struct Host(Workdir);

const OBJECTS: u64 = 31;

/// Ids of 32 digits in no order.
fn id(number: u64) -> String {
    let mixed =
        |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    format!("{:016x}{number:016x}", mixed(number))
}

fn ids(numbers: impl Iterator<Item = u64>) -> RecordBatch {
    let column: ArrayRef = Arc::new(StringArray::from_iter_values(numbers.map(id)));
    RecordBatch::try_from_iter([("id", column)]).unwrap()
}

fn copying() -> Pipeline {
    pipeline(&[]).checkpoint("group_rows_max = 2000").run("workers = 2\nreaders = 2\nblock_rows_max = 500")
}

impl Host {
    /// `rows` rows in so many objects that every lane has some; every second row was done elsewhere.
    fn with_half_done(rows: u64, pipeline: &Pipeline) -> Host {
        let workdir = Workdir::new();
        workdir.pipeline(pipeline);
        for part in 0..OBJECTS {
            workdir.file(&format!("{part}.parquet"), &ids((part..rows).step_by(OBJECTS as usize)), 1000);
        }
        write_parquet(&workdir.path("done.parquet"), &ids((0..rows).step_by(2)), 10_000);
        Host(workdir)
    }

    fn expected(rows: u64) -> Multiset {
        once((1..rows).step_by(2).map(id))
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.0.command(words);
        command.env("WASMPIPE_CACHE", self.0.path("cache")).env("WASMPIPE_LOG", "info");
        command
    }

    fn start(&self, words: &[&str]) -> Process {
        Process::start(self.command(words))
    }

    /// What a command says that ends with this code.
    #[track_caller]
    fn said(&self, words: &[&str], code: i32) -> String {
        self.start(words).wait().expect(code)
    }

    #[track_caller]
    fn import(&self) {
        self.said(&["checkpoint", "import", "pipeline.toml", "done.parquet"], 0);
    }

    #[track_caller]
    fn run(&self) -> String {
        self.said(&["run", "--quiet", "pipeline.toml"], 0)
    }

    /// What lies in the folder of id files, by the end of its name.
    fn cached(&self, end: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.0.path("cache/ids")).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        found.retain(|path| path.to_str().unwrap().ends_with(end));
        found.sort();
        found
    }

    #[track_caller]
    fn id_file(&self) -> PathBuf {
        let files = self.cached("");
        assert_eq!((files.len(), self.cached(".ids").len()), (1, 1), "one file and no leftovers: {files:?}");
        files.into_iter().next().unwrap()
    }

    /// The job as it was when the copy was made, and an empty sink.
    fn restore(&self, copy: &str) {
        for folder in ["checkpoint", "out"] {
            let _ = std::fs::remove_dir_all(self.0.path(folder));
        }
        self.copy(copy, "checkpoint");
    }

    fn copy(&self, from: &str, to: &str) {
        let (from, to) = (self.0.path(from), self.0.path(to));
        assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
    }
}

const BUILT: &str = "built the id file";
const ANEW: &str = "building the id file anew";

fn count(said: &str, words: &str) -> usize {
    said.matches(words).count()
}

#[test]
fn k7_a_damaged_id_file_is_noticed_and_built_again_within_the_run() {
    const ROWS: u64 = 3000;
    let host = Host::with_half_done(ROWS, &copying());
    host.import();
    host.copy("checkpoint", "imported");
    host.run();
    let path = host.id_file();
    let whole = std::fs::read(&path).unwrap();

    let size = whole.len();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        (format!("byte {at} of {size}"), bytes)
    };
    let cut = |length: usize| (format!("{length} of {size} bytes"), whole[..length].to_vec());
    let places = (0..32).map(|part| size * part / 32).chain([size - 1]);
    let mut noticed_while_asked = 0;
    for (what, bytes) in places.map(flipped).chain([0, 1, size / 2, size - 1].map(cut)) {
        // Another file of the same name, as after a crash of the machine: nobody changes one that is in use.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        host.restore("imported");
        let said = host.run();
        assert_eq!((count(&said, ANEW), count(&said, BUILT)), (1, 1), "{what}: {said}");
        assert!(host.0.output("out") == Host::expected(ROWS), "{what}: {said}");
        assert!(std::fs::read(host.id_file()).unwrap() == whole, "{what}: the file is whole again");
        let begun = said.find("the work begins").unwrap();
        noticed_while_asked += usize::from(begun < said.find(ANEW).unwrap());
    }
    assert!(noticed_while_asked > 10, "{noticed_while_asked} times in blocks, which are looked at when they are asked");
    host.restore("imported");
    assert_eq!(count(&host.run(), BUILT), 0, "a whole file is used");
}

#[test]
fn x4_more_ids_than_the_memory_for_them() {
    const ROWS: u64 = 200_000;
    let host = Host::with_half_done(ROWS, &copying().run("ids_memory_bytes_max = \"100 KB\""));
    let mut import = host.start(&["checkpoint", "import", "pipeline.toml", "done.parquet"]);
    let mut most = 0;
    // While it is built, what does not fit in memory lies on the disk.
    let mut look = |process: &mut Process| {
        until("a process ends", || {
            let files = host.0.files("cache/ids");
            most = most.max(files.iter().filter_map(|file| Some(file.metadata().ok()?.len())).sum::<u64>());
            !process.is_running()
        });
    };
    look(&mut import);
    import.wait().expect(0);
    let mut run = host.start(&["run", "--quiet", "pipeline.toml"]);
    look(&mut run);
    run.wait().expect(0);
    assert!(host.0.output("out") == Host::expected(ROWS));
    let size = host.id_file().metadata().unwrap().len();
    assert!(most > size * 3 / 2, "{most} bytes on the disk at once for a file of {size}");
}

#[test]
fn a_disk_without_room_for_the_id_file_is_named_and_the_job_goes_on_later() {
    const ROWS: u64 = 20_000;
    let host = Host::with_half_done(ROWS, &copying().checkpoint("group_rows_max = 500"));
    host.import();
    let _ = std::fs::remove_dir_all(host.0.path("cache/ids"));
    // No file may grow beyond 64 KiB, which is what a full disk looks like from here.
    let run = host.command(&["run", "--quiet", "pipeline.toml"]);
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" run --quiet pipeline.toml";
    let mut full = Command::new("bash");
    full.args(["-c", script]).arg(run.get_program()).current_dir(run.get_current_dir().unwrap());
    full.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let said = Process::start(full).wait().expect(1);
    let error = said.lines().filter(|line| !line.contains(" INFO ")).collect::<Vec<_>>().join("\n");
    assert!(error.contains(".ids: cannot write") && error.contains("File too large"), "{said}");
    assert!(
        error.contains("hint: nothing is lost; make room there, or name another folder with WASMPIPE_CACHE"),
        "{said}"
    );
    assert_eq!(host.cached("").len(), 0, "nothing is left of it");
    host.run();
    assert!(host.0.output("out") == Host::expected(ROWS));
}

#[test]
fn four_processes_of_a_job_build_one_id_file_and_share_its_memory() {
    const ROWS: u64 = 160_000;
    let lanes = copying().checkpoint("lanes = 4");
    let host = Host::with_half_done(ROWS, &lanes.run("readers = 1\nblock_rows_max = 100"));
    let imported = host.said(&["checkpoint", "import", "pipeline.toml", "done.parquet"], 0);
    let mut processes: Vec<Process> =
        (0..4).map(|lane| host.start(&["run", "--quiet", "pipeline.toml", "--lane", &lane.to_string()])).collect();
    // Each stands still with most of the file in its memory.
    let mut mapped: Vec<Option<Mapped>> = vec![None; processes.len()];
    until("four processes have the file mapped", || {
        for (process, mapped) in processes.iter_mut().zip(&mut mapped).filter(|(_, mapped)| mapped.is_none()) {
            assert!(process.is_running(), "{}", process.said());
            if Mapped::of(process).is_some_and(|now| now.resident * 2 > now.size) {
                process.stop();
                *mapped = Mapped::of(process);
            }
        }
        mapped.iter().all(Option::is_some)
    });
    let mapped: Vec<Mapped> = processes.iter().map(|process| Mapped::of(process).unwrap()).collect();
    let (resident, own): (u64, u64) = (mapped.iter().map(|m| m.resident).sum(), mapped.iter().map(|m| m.share).sum());
    assert!(own <= mapped[0].size + (64 << 10), "in memory once: {mapped:?}");
    assert!(resident > 2 * own, "though each has it: {mapped:?}");
    processes.iter().for_each(Process::go_on);
    let said: String = processes.into_iter().map(|process| process.wait().expect(0)).collect();
    assert_eq!(count(&imported, BUILT) + count(&said, BUILT), 1, "{imported}{said}");
    assert!(host.0.output("out") == Host::expected(ROWS));
    host.id_file();
}

/// An id file in the memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
struct Mapped {
    size: u64,
    resident: u64,
    /// Each page divided by the number of those who have it.
    share: u64,
}

impl Mapped {
    fn of(process: &Process) -> Option<Mapped> {
        let maps = std::fs::read_to_string(format!("/proc/{}/smaps", process.id())).ok()?;
        // A mapping's first line ends with the file's name.
        let about = maps.split_once(".ids\n")?.1;
        let bytes = |key: &str| {
            let line = about.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
        };
        Some(Mapped { size: bytes("Size:"), resident: bytes("Rss:"), share: bytes("Pss:") })
    }
}

/// A job whose id file is not there, and a process that builds it and stands still meanwhile.
fn while_one_builds(lanes: &str) -> (Host, Process) {
    let host = Host::with_half_done(120_000, &copying().checkpoint(lanes).run("ids_memory_bytes_max = \"1 MB\""));
    host.import();
    host.copy("checkpoint", "imported");
    for _ in 0..20 {
        let _ = std::fs::remove_dir_all(host.0.path("cache/ids"));
        let builder = host.start(&["run", "--quiet", "pipeline.toml", "--lane", "0"]);
        until("somebody builds", || !host.cached(".building").is_empty());
        builder.stop();
        if !host.cached(".building").is_empty() && host.cached(".ids").is_empty() {
            return (host, builder);
        }
        builder.kill();
        host.restore("imported");
    }
    panic!("it was never stopped in time")
}

#[test]
fn who_waits_for_an_id_file_can_be_stopped_and_takes_over_from_a_killed_builder() {
    let (host, builder) = while_one_builds("lanes = 2");
    let waits = || {
        let waiting = host.start(&["run", "--quiet", "pipeline.toml", "--lane", "1"]);
        let words = format!("waiting for the id file, which another process builds process={}", builder.id());
        until("it waits", || waiting.said().contains(&words));
        waiting
    };
    let waiting = waits();
    waiting.interrupt();
    let said = waiting.wait().expect(4);
    let words = "stopped while another process built the id file, before any row was read\n  hint: nothing is lost; run the same";
    assert!(said.contains(words), "{said}");

    let waiting = waits();
    let killed = builder.kill();
    assert_eq!((killed.code, count(&killed.said, BUILT)), (None, 0));
    assert_eq!(count(&waiting.wait().expect(0), BUILT), 1);
    host.id_file();
    host.run();
    assert!(host.0.output("out") == Host::expected(120_000));
}

#[test]
fn who_waits_uses_the_file_that_the_other_has_built() {
    let (host, builder) = while_one_builds("lanes = 2");
    let waiting = host.start(&["run", "--quiet", "pipeline.toml", "--lane", "1"]);
    until("it waits", || waiting.said().contains("waiting for the id file"));
    builder.go_on();
    let said = [builder, waiting].map(|process| process.wait().expect(0));
    assert_eq!(said.each_ref().map(|said| count(said, BUILT)), [1, 0], "{said:?}");
    assert!(host.0.output("out") == Host::expected(120_000));
}

#[test]
fn id_files_that_were_not_used_for_long_make_room_and_those_in_use_stay() {
    let host = Host::with_half_done(2000, &copying());
    let said = |words: &[&str], bytes_max: &str, code: i32| {
        let mut command = host.command(words);
        command.env("WASMPIPE_CACHE_IDS_MAX", bytes_max);
        Process::start(command).wait().expect(code)
    };
    let job = |name: &str, bytes_max: &str| {
        let sink = format!("path = \"out-{name}\"");
        let sections = copying().sink(&sink).checkpoint(&format!("path = \"checkpoint-{name}\""));
        let file = format!("{name}.toml");
        host.0.pipeline_at(&file, &sections);
        said(&["checkpoint", "import", &file, "done.parquet"], bytes_max, 0);
        said(&["run", "--quiet", &file], bytes_max, 0);
    };
    let files = || host.cached(".ids").iter().map(|path| path.metadata().unwrap().ino()).collect::<BTreeSet<_>>();
    ["a", "b", "c"].iter().for_each(|name| job(name, ""));
    let [a, b, c] = ["a", "b", "c"].map(|name| {
        let job = host.0.json(&["checkpoint", "inspect", "--json", &format!("checkpoint-{name}")], 0);
        let job = job["job"].as_str().unwrap().to_owned();
        host.cached(".ids").into_iter().find(|path| path.to_str().unwrap().contains(&job)).unwrap()
    });
    assert_eq!(files().len(), 3);
    // The oldest is in use, as a run would use it.
    let in_use = std::fs::File::open(&a).unwrap();
    in_use.lock_shared().unwrap();
    let size = a.metadata().unwrap().len();
    let room_for_three = format!("{} KB", size * 3 / 1000 + 1);
    job("d", &room_for_three);
    assert_eq!([a.exists(), b.exists(), c.exists()], [true, false, true], "the oldest that nobody uses is gone");
    assert_eq!(files().len(), 3);
    let refused = said(&["run", "d.toml"], "much", 2);
    expect![[r#"
        error: WASMPIPE_CACHE_IDS_MAX is not a size: "much"
          hint: write a whole number and a unit, as in "512 MiB"; units are KiB, MiB, GiB (1024) and KB, MB, GB (1000)
    "#]]
    .assert_eq(&refused);
}

/// A column of each type that ids can have, with values that are small, large, negative, empty, or not ASCII. The values differ.
fn of_every_type() -> Vec<(&'static str, ArrayRef)> {
    let long = "long ".repeat(20_000);
    let texts = ["", "a", "A", "a\0", "ab", "b", "ä", "日本", "😀", " ", "id-1", "id-10", &long];
    let bytes: [&[u8]; 9] = [b"", b"\0", b"\0\0", b"\0\xFF", b"\xFF", b"\x7F", b"a", b"a\0b", long.as_bytes()];
    let small = [0i8, 1, -1, i8::MIN, i8::MAX, 7];
    let numbers = [0i64, 1, -1, i64::MIN, i64::MAX, 1 << 40, -(1 << 40), 255, 256, 65536];
    let days = [0i32, 1, -1, 20_000, -700_000];
    let times = [0i32, 1, 86_399];
    let decimals = [0i128, 1, -1, 10i128.pow(30), -10i128.pow(30), 12_345];
    let wide = decimals.map(|n| i256::from_i128(n).wrapping_mul(i256::from_i128(10i128.pow(20))));
    let at =
        |column: Int64Array, unit: TimeUnit| arrow::compute::cast(&column, &DataType::Timestamp(unit, None)).unwrap();
    let moments = || Int64Array::from(vec![0, 1, -1, 1_700_000_000, -1_700_000_000]);
    let fixed = [[0u8, 0, 0], [0, 0, 1], [255, 0, 0], [97, 98, 99]];
    vec![
        ("int8", Arc::new(Int8Array::from(small.to_vec()))),
        ("int16", Arc::new(small.iter().map(|n| Some(i16::from(*n) * 256)).collect::<Int16Array>())),
        ("int32", Arc::new(small.iter().map(|n| Some(i32::from(*n) << 24)).collect::<Int32Array>())),
        ("int64", Arc::new(Int64Array::from(numbers.to_vec()))),
        ("uint8", Arc::new(UInt8Array::from(vec![0, 1, 127, 128, 255]))),
        ("uint16", Arc::new(UInt16Array::from(vec![0, 1, 255, 256, u16::MAX]))),
        ("uint32", Arc::new(UInt32Array::from(vec![0, 1, 255, 1 << 31, u32::MAX]))),
        ("uint64", Arc::new(UInt64Array::from(vec![0, 1, 255, 1 << 63, u64::MAX]))),
        ("bool", Arc::new(BooleanArray::from(vec![true, false]))),
        ("utf8", Arc::new(StringArray::from(texts.to_vec()))),
        ("large_utf8", Arc::new(LargeStringArray::from(texts.to_vec()))),
        ("binary", Arc::new(BinaryArray::from(bytes.to_vec()))),
        ("large_binary", Arc::new(LargeBinaryArray::from(bytes.to_vec()))),
        ("fixed_size_binary", Arc::new(FixedSizeBinaryArray::try_from_iter(fixed.into_iter()).unwrap())),
        ("date32", Arc::new(Date32Array::from(days.to_vec()))),
        ("time32_ms", Arc::new(Time32MillisecondArray::from(times.to_vec()))),
        ("time64_us", Arc::new(Time64MicrosecondArray::from(vec![0, 1, 86_399_999_999]))),
        ("time64_ns", Arc::new(Time64NanosecondArray::from(vec![0, 1, 86_399_999_999_999]))),
        ("timestamp_ms", at(moments(), TimeUnit::Millisecond)),
        ("timestamp_us", at(moments(), TimeUnit::Microsecond)),
        ("timestamp_ns", at(moments(), TimeUnit::Nanosecond)),
        ("decimal", Arc::new(Decimal128Array::from(decimals.to_vec()).with_precision_and_scale(38, 4).unwrap())),
        ("wide_decimal", Arc::new(Decimal256Array::from(wide.to_vec()).with_precision_and_scale(76, 4).unwrap())),
    ]
}

/// Pairs that are easily taken for each other.
fn of_two_columns() -> RecordBatch {
    let texts = ["a", "ab", "a\0", "", "\0", "a", "a"];
    let bytes: [&[u8]; 7] = [b"bc", b"c", b"b", b"abc", b"\0", b"\0bc", b"b"];
    let numbers = vec![0, 0, -1, -1, i64::MIN, i64::MAX, 0];
    let columns: [(&str, ArrayRef); 3] = [
        ("text", Arc::new(StringArray::from(texts.to_vec()))),
        ("bytes", Arc::new(BinaryArray::from(bytes.to_vec()))),
        ("number", Arc::new(Int64Array::from(numbers))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn every_second(rows: &RecordBatch, first: u32) -> RecordBatch {
    let places = UInt32Array::from_iter_values((first..rows.num_rows() as u32).step_by(2));
    take_record_batch(rows, &places).unwrap()
}

fn backwards(rows: &RecordBatch) -> RecordBatch {
    take_record_batch(rows, &UInt32Array::from_iter_values((0..rows.num_rows() as u32).rev())).unwrap()
}

fn ids_of_every_type() -> Vec<(String, RecordBatch)> {
    let single =
        |(name, column): (&str, ArrayRef)| (name.to_owned(), RecordBatch::try_from_iter([(name, column)]).unwrap());
    let mut all: Vec<_> = of_every_type().into_iter().map(single).collect();
    all.push(("composite".to_owned(), of_two_columns()));
    all
}

/// A job that copies `rows`, which are all ids.
fn job_of_ids(rows: &RecordBatch) -> Host {
    let names: Vec<String> = rows.schema().fields().iter().map(|field| format!("{:?}", field.name())).collect();
    let names = format!("[{}]", names.join(", "));
    let host = Host(Workdir::new());
    host.0.pipeline(&pipeline(&[]).source(&format!("id = {names}")).sink(&format!("columns = {names}")));
    host
}

/// What came out, sorted by place in `rows`, is `expected`.
#[track_caller]
fn assert_output(host: &Host, expected: &RecordBatch, what: &str) {
    write_parquet(&host.0.path("expected.parquet"), expected, 1000);
    std::fs::create_dir_all(host.0.path("expected")).unwrap();
    std::fs::rename(host.0.path("expected.parquet"), host.0.path("expected/expected.parquet")).unwrap();
    assert_eq!(host.0.output("out"), host.0.output("expected"), "{what}");
}

#[test]
fn f4_ids_of_every_type_are_known_after_an_import() {
    for (what, rows) in ids_of_every_type() {
        let host = job_of_ids(&rows);
        host.0.file("a.parquet", &rows, 3);
        write_parquet(&host.0.path("done.parquet"), &backwards(&every_second(&rows, 0)), 2);
        host.import();
        host.run();
        assert_output(&host, &every_second(&rows, 1), &what);
    }
}

#[test]
fn f4_ids_of_every_type_are_known_after_the_source_was_rewritten() {
    for (what, rows) in ids_of_every_type() {
        let host = job_of_ids(&rows);
        host.0.file("a.parquet", &every_second(&rows, 1), 3);
        host.run();
        std::fs::remove_file(host.0.path("in/a.parquet")).unwrap();
        host.0.file("b.parquet", &backwards(&rows), 2);
        host.run();
        assert_output(&host, &rows, &what);
        let inspect = host.0.inspect();
        assert_eq!(inspect["rows_known"], rows.num_rows() / 2, "{what}");
    }
}
