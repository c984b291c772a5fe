//! In which way should a block cross the boundary: as one list of bytes or as one for each buffer, and should the answer be
//! returned or pushed into an import?
//!
//! The four ways in one process, in turn, over the same buffers, with wasmtime alone: no stop checks, no limits, nothing
//! decoded. The guest copies each buffer once. Expected: every way copies a block in, once in the guest, and out; the ways
//! with one list copy it once more before the call, when the host puts the buffers together. What a call costs counts only
//! where blocks are small.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef};
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Engine, Inlining, Store};

use crate::cases::mixed;
use crate::{at, sorted};

#[allow(clippy::all, clippy::pedantic, unreachable_pub, reason = "generated code")]
mod generated {
    wasmtime::component::bindgen!({
        path: "../guests/planes/wit",
        world: "planes",
        // Buffers are copied from where they lie.
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

use generated::Planes;
use generated::wasmpipe::bench::answers;

/// The ways take turns, as the machine is not equally fast all the time. A turn has many rounds, the first of which is not
/// counted: what the host's allocator finds is what the same way left.
const TURNS: usize = 31;
const TURN_ROUNDS: usize = 10;
const BLOCKS_KIB: [usize; 6] = [64, 256, 1 << 10, 2 << 10, 4 << 10, 16 << 10];

/// A way over the boundary and back.
type Way = fn(&mut Guest, &[&[u8]]) -> Answer;

/// The first is no way over it: it is what the guest's work takes natively.
const WAYS: [(&str, Way); 5] = [
    ("copied natively", |_, buffers| Answer::Many(buffers.iter().map(|buffer| buffer.to_vec()).collect())),
    ("one list, returned", |guest, buffers| Answer::One(guest.one_returned(&buffers.concat()))),
    ("one list, pushed", |guest, buffers| guest.one_pushed(&buffers.concat())),
    ("many lists, returned", |guest, buffers| Answer::Many(guest.many_returned(buffers))),
    ("many lists, pushed", Guest::many_pushed),
];

pub(crate) fn run(component: &Path) {
    let engine = Engine::new(&config()).expect("an engine");
    let component = Component::from_file(&engine, component).expect("the component of tests/guests/planes");
    let measured = BLOCKS_KIB.map(|kib| measure(&mut Guest::new(&engine, &component), kib << 10));
    println!("On {}.\n", crate::machine::describe());
    println!("Microseconds for a block, median / fastest tenth:\n");
    print_table(&measured, |time, _| format!("{:.1}", time.as_secs_f64() * 1e6));
    println!("\nGB/s of input, median / fastest tenth:\n");
    print_table(&measured, |time, bytes| format!("{:.2}", bytes as f64 / time.as_secs_f64() / 1e9));
}

/// What the host sets, but for its stop checks.
fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .max_wasm_stack(512 << 10)
        .wasm_memory64(false)
        .relaxed_simd_deterministic(true)
        .memory_init_cow(false)
        .compiler_inlining(Inlining::No);
    config
}

enum Answer {
    One(Vec<u8>),
    Many(Vec<Vec<u8>>),
}

struct Guest {
    store: Store<Mailbox>,
    planes: Planes,
}

/// Where a pushed answer is left.
#[derive(Default)]
struct Mailbox(Option<Answer>);

impl answers::Host for Mailbox {
    fn one(&mut self, message: Vec<u8>) {
        self.0 = Some(Answer::One(message));
    }

    fn many(&mut self, buffers: Vec<Vec<u8>>) {
        self.0 = Some(Answer::Many(buffers));
    }
}

impl Guest {
    fn new(engine: &Engine, component: &Component) -> Guest {
        let mut linker = Linker::new(engine);
        Planes::add_to_linker::<_, HasSelf<_>>(&mut linker, |mailbox: &mut Mailbox| mailbox).expect("a new linker");
        // What its function `same` would call, which nobody calls here.
        linker.define_unknown_imports_as_traps(component).expect("a linker without those");
        let mut store = Store::new(engine, Mailbox::default());
        let planes = Planes::instantiate(&mut store, component, &linker).expect("it starts");
        Guest { store, planes }
    }

    fn one_returned(&mut self, message: &[u8]) -> Vec<u8> {
        self.planes.wasmpipe_bench_identity().call_one_returned(&mut self.store, message).expect("an answer")
    }

    fn one_pushed(&mut self, message: &[u8]) -> Answer {
        self.planes.wasmpipe_bench_identity().call_one_pushed(&mut self.store, message).expect("an answer");
        self.pushed()
    }

    fn many_returned(&mut self, buffers: &[&[u8]]) -> Vec<Vec<u8>> {
        self.planes.wasmpipe_bench_identity().call_many_returned(&mut self.store, buffers).expect("an answer")
    }

    fn many_pushed(&mut self, buffers: &[&[u8]]) -> Answer {
        self.planes.wasmpipe_bench_identity().call_many_pushed(&mut self.store, buffers).expect("an answer");
        self.pushed()
    }

    fn pushed(&mut self) -> Answer {
        self.store.data_mut().0.take().expect("an answer")
    }
}

/// The times of each way over a block of about `kib` KiB, sorted.
struct Measured {
    kib: usize,
    bytes: usize,
    times: [Vec<Duration>; WAYS.len()],
}

fn measure(guest: &mut Guest, block_bytes: usize) -> Measured {
    let owned = buffers(block_bytes);
    let buffers: Vec<&[u8]> = owned.iter().map(Vec::as_slice).collect();
    for (name, way) in WAYS {
        let answer = match way(guest, &buffers) {
            Answer::One(message) => message,
            Answer::Many(buffers) => buffers.concat(),
        };
        assert!(answer == buffers.concat(), "{name} answers with what it was given");
    }
    let mut times = WAYS.map(|_| Vec::with_capacity(TURNS * TURN_ROUNDS));
    for _ in 0..TURNS {
        for ((_, way), times) in WAYS.iter().zip(&mut times) {
            time(*way, guest, &buffers);
            times.extend((0..TURN_ROUNDS).map(|_| time(*way, guest, &buffers)));
        }
    }
    Measured { kib: block_bytes >> 10, bytes: owned.iter().map(Vec::len).sum(), times: times.map(sorted) }
}

/// That the answer is freed is not timed: whose it is does that later, in every way.
fn time(way: Way, guest: &mut Guest, buffers: &[&[u8]]) -> Duration {
    let start = Instant::now();
    let answer = way(guest, black_box(buffers));
    let time = start.elapsed();
    drop(black_box(answer));
    time
}

/// Buffers of the case `copied`, as they cross: for each column an empty bitmap, then its values or its offsets and bytes.
fn buffers(block_bytes: usize) -> Vec<Vec<u8>> {
    let of_column = |(_, column): (&str, ArrayRef)| {
        let data = column.to_data();
        let values: Vec<Vec<u8>> = data.buffers().iter().map(|buffer| buffer.to_vec()).collect();
        std::iter::once(Vec::new()).chain(values)
    };
    mixed(block_bytes).into_iter().flat_map(of_column).collect()
}

fn print_table(measured: &[Measured], number: impl Fn(Duration, usize) -> String) {
    println!("| block | {} |", WAYS.map(|(name, _)| name).join(" | "));
    println!("|---:|{}", "---:|".repeat(WAYS.len()));
    for Measured { kib, bytes, times } in measured {
        let cell =
            |times: &Vec<Duration>| format!("{} / {}", number(at(times, 50), *bytes), number(at(times, 10), *bytes));
        let size = if *kib < 1 << 10 { format!("{kib} KiB") } else { format!("{} MiB", kib >> 10) };
        println!("| {size} | {} |", times.each_ref().map(cell).join(" | "));
    }
}
