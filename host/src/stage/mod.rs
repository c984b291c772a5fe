//! One block through one function.
//!
//! * `runner` - a function and the instance that is called.
//! * `run` - what a function sees of a block, and what its answer makes of it.
//! * `growth` - what one source row may become.
//! * `pace` - how many rows a call takes.
//! * `isolate` - rows that end the function are told apart from those beside them.
//! * `search_time` - how much of a run that may take.
//! * `size` - what answers may be together.
//!
//! A worker of a run and a person's `udf test` take these same steps. What a failed row means to a run is not known here.

mod growth;
mod isolate;
mod pace;
mod run;
mod runner;
mod search_time;
mod size;

pub use isolate::{Left, Limit, Outcome, Poison, RunTime, Search, Spent, Start, Stop};
use pace::CallPace;
pub use run::{CallSize, Caller, Halt, Halted, fail_nulls, pass};
pub use runner::{Called, Runner, call_and_isolate, for_sink};
pub use search_time::SearchTime;
pub use size::AnswerSize;
