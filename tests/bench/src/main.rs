//! What does it cost to run a function in the host instead of natively?
//!
//! Both sides in one process, block by block in turn, over the same arrays: `host` is everything that a stage does with a
//! block (encode, call, decode, check; epochs on), `native` is the same Rust function in a loop over the same arrays. Their
//! medians are compared. Expected: host = call + bytes in and out * (copy + check) + the function in WebAssembly.

#![expect(clippy::print_stdout, reason = "a command line program of the project's own")]

mod cases;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmpipe::udf::{self, Component, Engine, Instance, Limits, Spec};

use cases::Case;

const ROUNDS: usize = 301;

fn main() {
    let component = std::env::args().nth(1).expect("usage: wasmpipe-bench BENCH.wasm [FILTER]");
    let filter = std::env::args().nth(2).unwrap_or_default();
    let cache = std::env::temp_dir().join("wasmpipe-bench");
    let engine = wasmpipe::pipeline::engine(&cache).expect("an engine");
    let component = Component::load(&engine, Path::new(&component)).expect("the component of tests/guests/bench");
    println!("| function | input | native | host | of that guest | host / native | input rate in the host |");
    println!("|---|---|---:|---:|---:|---:|---:|");
    for case in cases::all().into_iter().filter(|case| case.function.contains(&filter)) {
        measure(&engine, &component, &case);
    }
}

fn measure(engine: &Engine, component: &Component, case: &Case) {
    let spec = Arc::new(Spec {
        component: component.clone(),
        function: case.function.to_owned(),
        config: serde_json::Value::Null,
        input: case.block.schema(),
        limits: Limits::default(),
        stage: "stage 1".to_owned(),
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
    report(case, median(native), median(host), median(guest));
}

fn report(case: &Case, native: Duration, host: Duration, guest: Duration) {
    let bytes = case.block.get_array_memory_size() as f64;
    println!(
        "| {} | {} | {} | {} | {} | {:.2} | {:.2} GB/s |",
        case.function,
        case.input,
        micros(native),
        micros(host),
        micros(guest),
        host.as_secs_f64() / native.as_secs_f64(),
        bytes / host.as_secs_f64() / 1e9
    );
}

fn micros(time: Duration) -> String {
    format!("{:.1} us", time.as_secs_f64() * 1e6)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() * std::env::var("X_PCT").map_or(50, |p| p.parse().unwrap()) / 100]
}
