//! Lines and counters for the host: `log::info!("{n} words")`, `count("words", n)`.
//!
//! On wasm32 they go to the host, which names stage and function, and limits what is too much. Natively they are
//! collected per thread, up to a limit, for tests to take.

pub use crate::{
    __log_debug as debug, __log_error as error, __log_info as info, __log_trace as trace, __log_warn as warn,
};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// One line for the host's log; the macros of this module call it.
pub fn line(level: Level, message: &str) {
    sink::line(level, message);
}

/// Adds to a counter of this function, which the run's summary shows. It counts only if the call succeeds.
pub fn count(name: &str, delta: u64) {
    sink::count(name, delta);
}

#[cfg(not(target_arch = "wasm32"))]
pub use sink::{counts_taken, lines_taken};

#[cfg(target_arch = "wasm32")]
use crate::bindings::sink;

#[cfg(not(target_arch = "wasm32"))]
mod sink {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use super::Level;

    const LINES_MAX: usize = 1024;

    thread_local! {
        static LINES: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
        static COUNTS: RefCell<BTreeMap<String, u64>> = const { RefCell::new(BTreeMap::new()) };
    }

    pub(super) fn line(level: Level, message: &str) {
        LINES.with_borrow_mut(|lines| {
            if lines.len() < LINES_MAX {
                lines.push((level, message.to_owned()));
            }
        });
    }

    pub(super) fn count(name: &str, delta: u64) {
        COUNTS.with_borrow_mut(|counts| *counts.entry(name.to_owned()).or_default() += delta);
    }

    /// Takes the lines that functions logged on this thread (the first 1024).
    pub fn lines_taken() -> Vec<(Level, String)> {
        LINES.take()
    }

    /// Takes the counters of this thread.
    pub fn counts_taken() -> BTreeMap<String, u64> {
        COUNTS.take()
    }
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_trace {
    ($($word:tt)+) => { $crate::log::line($crate::log::Level::Trace, &::std::format!($($word)+)) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($word:tt)+) => { $crate::log::line($crate::log::Level::Debug, &::std::format!($($word)+)) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($word:tt)+) => { $crate::log::line($crate::log::Level::Info, &::std::format!($($word)+)) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($word:tt)+) => { $crate::log::line($crate::log::Level::Warn, &::std::format!($($word)+)) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($word:tt)+) => { $crate::log::line($crate::log::Level::Error, &::std::format!($($word)+)) };
}
