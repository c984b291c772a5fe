//! What does it cost to run a function in the host instead of natively?
//!
//! Both sides in one process, block by block in turn, over the same arrays: `host` is everything that a stage does with a
//! block (encode, call, decode, check; stop checks on), `native` is the same Rust function in a loop over the same arrays. Their
//! medians are compared. Expected: host = call + bytes in and out * (copy + check) + the function in WebAssembly.

#![expect(clippy::print_stdout, reason = "a command line program of the project's own")]

mod cases;
mod machine;
mod planes;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmpipe::udf::{self, Component, Engine, Instance, Limits, Spec};

use cases::Case;

const ROUNDS: usize = 301;
/// The first cases are those that stand for work; the others show what surrounds it.
const FOUR: usize = 4;

const USAGE: &str = "usage: wasmpipe-bench BENCH.wasm [FUNCTION], or wasmpipe-bench planes PLANES.wasm";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["planes", component] => planes::run(Path::new(component)),
        [component] => functions(Path::new(component), None),
        [component, only] => functions(Path::new(component), Some(only)),
        _ => panic!("{USAGE}"),
    }
}

fn functions(component: &Path, only: Option<&str>) {
    let cache = std::env::temp_dir().join("wasmpipe-bench");
    let engine = wasmpipe::pipeline::engine(&cache).expect("an engine");
    let component = Component::load(&engine, component).expect("the component of tests/guests/bench");
    println!("On {}.\n", machine::describe());
    println!(
        "| function | input | native | host | in the guest | host / native | of the fastest tenth | input in the host |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|");
    let is_wanted = |case: &Case| only.is_none_or(|only| case.function == only);
    let ratios: Vec<Ratio> =
        cases::all().iter().filter(|case| is_wanted(case)).map(|case| measure(&engine, &component, case)).collect();
    let four = &ratios[..ratios.len().min(FOUR)];
    let mean = |ratio: fn(&Ratio) -> f64| {
        (four.iter().map(|ratios| ratio(ratios).ln()).sum::<f64>() / four.len() as f64).exp()
    };
    println!();
    println!(
        "Geometric mean of the first {}: {:.2}, of the fastest tenth {:.2}.",
        four.len(),
        mean(|r| r.0),
        mean(|r| r.1)
    );
}

/// Host to native: of the medians, and of the times that a tenth of the rounds undercuts. What else the machine does only
/// adds to both, and more to the longer one.
struct Ratio(f64, f64);

fn measure(engine: &Engine, component: &Component, case: &Case) -> Ratio {
    let spec = Arc::new(Spec {
        component: component.clone(),
        function: case.function.to_owned(),
        config: serde_json::Value::Null,
        input: case.block.schema(),
        limits: Limits::default(),
        stage: "stage 1".to_owned(),
        lines: Arc::default(),
    });
    let binding = udf::bind(engine, &spec).expect("it binds");
    let mut instance = Instance::new(engine, &spec, &binding).expect("it starts");
    let (mut native, mut host, mut guest) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        std::hint::black_box((case.native)(std::hint::black_box(&case.block)));
        native.push(start.elapsed());
        let start = Instant::now();
        std::hint::black_box(instance.process(std::hint::black_box(&case.block)).expect("an answer"));
        host.push(start.elapsed());
        guest.push(instance.take_time());
    }
    let expected = (case.native)(&case.block);
    let answered = instance.process(&case.block).expect("an answer").batch;
    assert_eq!(answered.columns(), expected, "{} answers as it does natively", case.function);
    let times = [native, host, guest].map(sorted);
    let ratio = |percent: usize| at(&times[1], percent).as_secs_f64() / at(&times[0], percent).as_secs_f64();
    let bytes: usize = case.block.columns().iter().map(|column| column.get_array_memory_size()).sum();
    let [native, host, guest] = times.each_ref().map(|times| at(times, 50));
    println!(
        "| {} | {} | {} | {} | {} | {:.2} | {:.2} | {:.2} GB/s |",
        case.function,
        case.input,
        micros(native),
        micros(host),
        micros(guest),
        ratio(50),
        ratio(10),
        bytes as f64 / host.as_secs_f64() / 1e9
    );
    Ratio(ratio(50), ratio(10))
}

fn micros(time: Duration) -> String {
    format!("{:.1} us", time.as_secs_f64() * 1e6)
}

fn sorted(mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort();
    times
}

fn at(sorted: &[Duration], percent: usize) -> Duration {
    sorted[sorted.len() * percent / 100]
}
