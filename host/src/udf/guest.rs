//! One running guest: its store, its budget for each call, and what its failures mean.
//!
//! Any error from a call leaves the store unusable, so whoever gets a [`Fault`] drops the guest.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::{Store, Trap, WasmBacktrace};

use super::alarm::Alarm;
use super::backtrace;
use super::engine::Engine;
use super::journal::{Journal, Lines, tame};
use super::limits::{Limits, Memory};
use super::trap::{Meaning, meaning, named};
use super::world::{ArrowUdf, ArrowUdfPre, Mailbox, Raw, State, blocks, types};
use crate::message::Message;

/// Bytes of a guest's own words in one of our messages.
const QUOTE_BYTES_MAX: usize = 4 << 10;
/// Bytes that leave a guest at once while no block is involved.
const TALK_BYTES_MAX: usize = 4 << 20;
/// Handles of resources that a guest may hold; the contract has none.
const HANDLES_MAX: usize = 1000;

/// Why a call came to nothing. What they say continues a sentence whose subject is the function.
#[derive(Debug)]
pub(super) enum Fault {
    /// The guest failed: other rows may do better.
    Lost(Message),
    /// The guest went past a limit: fewer rows, or a higher limit, may do better.
    Limit(Message),
    /// The limit was that on its time.
    Time(Message),
    /// The guest breaks the contract whatever the rows are.
    Defect(Message),
    /// The types of its exports are not those of the contract; this is the difference.
    Misfit(String),
}

impl Fault {
    pub(super) fn message(self) -> Message {
        match self {
            Fault::Lost(message) | Fault::Limit(message) | Fault::Time(message) | Fault::Defect(message) => message,
            Fault::Misfit(reason) => {
                Message::new(format!("does not fit the contract: {reason}")).hint("rebuild the component")
            }
        }
    }
}

/// In which part of its life a guest is called. Decides how much it may say, and what to advise when it fails.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Phase {
    /// To say what the component offers, while no stage is involved.
    Inspect,
    /// The same for a stage.
    Describe,
    Bind,
    Process,
}

impl Phase {
    fn bytes_max(self, limits: &Limits) -> usize {
        match self {
            Phase::Process => usize::try_from(limits.bytes_max()).unwrap_or(usize::MAX),
            Phase::Inspect | Phase::Describe | Phase::Bind => TALK_BYTES_MAX,
        }
    }

    fn advise_limit(self, name: &str) -> String {
        match self {
            Phase::Inspect => {
                "limits are fixed while no stage is involved; report it to the component's author".to_owned()
            }
            Phase::Describe | Phase::Bind | Phase::Process => {
                format!("raise `{name}` in this stage")
            }
        }
    }

    /// Who called with rows knows better what to do about them.
    fn advise_trap(self) -> Option<String> {
        match self {
            Phase::Inspect | Phase::Describe | Phase::Bind => {
                Some("no row is involved yet: this is a defect of the component; report it to its author".to_owned())
            }
            Phase::Process => None,
        }
    }
}

/// A component that guests are made of.
pub(super) struct Startable {
    pub(super) pre: ArrowUdfPre<State>,
    /// What the engine keeps for the instances of its modules.
    pub(super) state_bytes: u64,
}

pub(super) struct Guest {
    /// Stops it. Outlives nothing that it could stop: its pages are shared.
    alarm: Arc<Alarm>,
    store: Store<State>,
    world: ArrowUdf,
    limits: Limits,
}

impl Guest {
    /// `phase` is why it is started, the label names stage and function in its log lines.
    pub(super) fn start(
        engine: &Engine,
        startable: &Startable,
        limits: &Limits,
        phase: Phase,
        (stage, function): (&str, &str),
        lines: &Arc<Lines>,
    ) -> Result<Guest, Fault> {
        let alarm = engine.alarm();
        let mut memory = Memory::new(limits.memory_bytes_max);
        let too_much = |wanted| Fault::Limit(out_of_memory(limits, phase, wanted, ""));
        memory.take(startable.state_bytes).map_err(too_much)?;
        let state = State {
            alarm: Arc::clone(&alarm),
            memory,
            journal: Journal::new(stage, function, limits, lines),
            mailbox: Mailbox::default(),
        };
        let mut store = Store::new(&engine.wasm, state);
        store.limiter(|state| &mut state.memory);
        store.set_max_component_handles(HANDLES_MAX);
        begin(&alarm, &mut store, limits, phase);
        let instance = alarm.starting(|| startable.pre.instance_pre().instantiate(&mut store));
        let instance = end(&alarm, &mut store, limits, phase, instance)?;
        let world = ArrowUdf::new(&mut store, &instance).map_err(|e| Fault::Misfit(quote(&format!("{e:#}"))))?;
        Ok(Guest { alarm, store, world, limits: limits.clone() })
    }

    pub(super) fn describe(&mut self, phase: Phase) -> Result<String, Fault> {
        self.call(phase, |world, store| world.wasmpipe_udf_functions().call_describe(store))
    }

    pub(super) fn bind(
        &mut self,
        function: &str,
        input: &[wasmpipe_wire::Field],
        config: &str,
    ) -> Result<blocks::Binding, Fault> {
        let metadata: Vec<Vec<(&str, &str)>> = input.iter().map(metadata).collect();
        let input: Vec<types::FieldParam> = input.iter().zip(&metadata).map(field).collect();
        let answer = self
            .call(Phase::Bind, |world, store| world.wasmpipe_udf_blocks().call_bind(store, function, &input, config))?;
        answer.map_err(|message| Fault::Lost(refused(&message)))
    }

    pub(super) fn process(&mut self, rows: u32, nodes: &[types::Node], buffers: &[&[u8]]) -> Result<Raw, Fault> {
        let done = self.call(Phase::Process, |world, store| {
            world.wasmpipe_udf_blocks().call_process(store, rows, nodes, buffers)
        })?;
        done.map_err(|message| Fault::Lost(gave_up(&message)))?;
        self.store.data_mut().mailbox.take().map_err(|count| Fault::Defect(miscounted(count)))
    }

    /// What was counted in the last call.
    pub(super) fn take_counts(&mut self) -> BTreeMap<String, u64> {
        self.store.data_mut().journal.take_counts()
    }

    fn call<T>(
        &mut self,
        phase: Phase,
        function: impl FnOnce(&ArrowUdf, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        begin(&self.alarm, &mut self.store, &self.limits, phase);
        let result = function(&self.world, &mut self.store);
        end(&self.alarm, &mut self.store, &self.limits, phase, result)
    }
}

fn metadata(field: &wasmpipe_wire::Field) -> Vec<(&str, &str)> {
    field.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

fn field<'a>((field, metadata): (&'a wasmpipe_wire::Field, &'a Vec<(&'a str, &'a str)>)) -> types::FieldParam<'a> {
    let wasmpipe_wire::Field { name, format, nullable, children, .. } = field;
    types::FieldParam { name, format, nullable: *nullable, children: *children, metadata }
}

pub(super) fn quote(text: &str) -> String {
    tame(text, QUOTE_BYTES_MAX)
}

/// Before any code of the guest runs: start functions, allocator and post-return are such code too.
fn begin(alarm: &Alarm, store: &mut Store<State>, limits: &Limits, phase: Phase) {
    alarm.set(Engine::ticks(limits.block_time_max));
    store.set_hostcall_fuel(phase.bytes_max(limits));
    store.data_mut().memory.begin();
    store.data_mut().journal.begin();
    store.data_mut().mailbox.begin();
}

fn end<T>(
    alarm: &Alarm,
    store: &mut Store<State>,
    limits: &Limits,
    phase: Phase,
    result: wasmtime::Result<T>,
) -> Result<T, Fault> {
    let has_rung = alarm.stop();
    store.data_mut().journal.end();
    result.map_err(|error| {
        if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
            tracing::debug!(target: "guest", "{}", quote(&backtrace.to_string()));
        }
        if has_rung { Fault::Time(out_of_time(limits, phase)) } else { fault(&error, store.data(), limits, phase) }
    })
}

/// What went wrong first is what people need to know: a guest that gets no memory goes on to trap in its own way.
fn fault(error: &wasmtime::Error, state: &State, limits: &Limits, phase: Phase) -> Fault {
    let reason = error.root_cause().to_string();
    let trap = error.downcast_ref::<Trap>();
    if let Some(wanted) = state.memory.denied() {
        return Fault::Limit(out_of_memory(limits, phase, wanted, &last_words(state)));
    }
    if trap == Some(&Trap::StackOverflow) {
        return Fault::Lost(Message::new("ran out of stack").hint("it recurses too deeply for some row"));
    }
    match (meaning(&reason), trap) {
        (Meaning::TooMuchData, _) => Fault::Limit(too_much(limits, phase)),
        _ if state.mailbox.count() > 1 => Fault::Defect(miscounted(state.mailbox.count())),
        (Meaning::NoAddressSpace, _) => Fault::Lost(not_started(&reason)),
        (Meaning::NotGranted(import), _) => Fault::Lost(not_granted(import, &last_words(state))),
        (Meaning::Other, Some(trap)) => {
            let place = error.downcast_ref::<WasmBacktrace>().and_then(backtrace::place);
            Fault::Lost(trapped(*trap, phase, state, place))
        }
        (Meaning::Other, None) => Fault::Defect(unruly(&reason)),
    }
}

fn not_started(reason: &str) -> Message {
    Message::new(format!("did not start: {}", quote(reason))).hint(
        "lower `workers` under [run], or raise what the system gives this process: its address space (ulimit -v), its \
         mappings (sysctl vm.max_map_count)",
    )
}

/// What is left are pointers, lengths, texts or tags that the canonical ABI does not allow.
fn unruly(reason: &str) -> Message {
    Message::new(format!("breaks the component model's rules for values: {}", quote(reason)))
        .hint("rebuild the component; if it stays, report it to its author")
}

fn refused(message: &str) -> Message {
    let message = Message::new(format!("refused: {}", quote(message)));
    message.hint("check `function`, `config` and the columns that reach this stage")
}

fn gave_up(message: &str) -> Message {
    let message = Message::new(format!("gave up on the block: {}", quote(message)));
    message.hint("the words are the function's own; its documentation should know them")
}

fn miscounted(count: usize) -> Message {
    let message = Message::new(format!("answered {count} times to one block"));
    message.hint("it must call `answer` once before `process` returns; report it to the function's author")
}

fn out_of_time(limits: &Limits, phase: Phase) -> Message {
    let seconds = limits.block_time_max.as_secs_f64();
    let message = Message::new(format!("ran out of time: block_seconds_max = {seconds} s"));
    message.hint(phase.advise_limit("block_seconds_max"))
}

fn out_of_memory(limits: &Limits, phase: Phase, wanted: u64, last_words: &str) -> Message {
    let max = limits.memory_bytes_max;
    let what = format!("ran out of memory: memory_bytes_max = {max} bytes, it wanted {wanted}{last_words}");
    Message::new(what).hint(phase.advise_limit("memory_bytes_max"))
}

fn too_much(limits: &Limits, phase: Phase) -> Message {
    let bytes = phase.bytes_max(limits);
    if phase == Phase::Process {
        let raise = limits.advise_memory(limits.bytes_max() < limits.answer_bytes_max);
        return Message::new(format!("answered with too much data: answer_bytes_max = {bytes} bytes"))
            .hint(format!("let the function answer with less for one row{raise}"));
    }
    Message::new(format!("answered with too much data: talk_bytes_max = {bytes} bytes"))
        .hint("this limit is fixed; report it to the component's author")
}

fn not_granted(import: &str, last_words: &str) -> Message {
    Message::new(format!("used {}, which it was not given{last_words}", quote(import)))
        .hint("functions have no files, clock, network or environment; rebuild it without them")
}

/// A panic says itself where it was; of another trap the place is looked up.
fn trapped(trap: Trap, phase: Phase, state: &State, place: Option<String>) -> Message {
    let is_panic = trap == Trap::UnreachableCodeReached;
    let panic = state.journal.last_error().filter(|_| is_panic).and_then(panicked);
    let what = panic.map_or_else(|| trapped_at(trap, state, place), str::to_owned);
    Message { hint: phase.advise_trap(), ..Message::new(what) }
}

fn trapped_at(trap: Trap, state: &State, place: Option<String>) -> String {
    let reason = named(trap);
    let place = place.map(|place| format!(" in {place}")).unwrap_or_default();
    format!("trapped: {reason}{place}{}", last_words(state))
}

/// A panic of Rust, which is one sentence since its line breaks are spaces.
fn panicked(line: &str) -> Option<&str> {
    line.starts_with("panicked at ").then_some(line)
}

fn last_words(state: &State) -> String {
    match state.journal.last_error() {
        Some(line) => format!("; its last words: {line}"),
        None => String::new(),
    }
}
