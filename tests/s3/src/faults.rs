//! What goes wrong, when. A fault is about requests of one operation, or of any, to names with a prefix; it happens to each
//! n-th of them, a number of times.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::{Op, Request};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It is answered with this status (429, 500, 503), and not done.
    Refuse(u16),
    /// The connection is closed, and it is not done.
    Drop,
    /// It is done, and the connection closed instead of an answer.
    LoseAnswer,
    /// It is done, and answered with this status.
    Lie(u16),
    /// It is done after this time. Other faults are looked for, too.
    Delay(Duration),
}

/// When it happens.
#[derive(Clone, Debug)]
pub struct Fault {
    /// To which operation; none: to any.
    pub op: Option<Op>,
    /// To names, `bucket/key`, that begin with this.
    pub prefix: String,
    /// What.
    pub what: What,
    /// To each request, each second, and so on.
    pub every: usize,
    /// How often at most.
    pub times: usize,
}

impl Fault {
    /// Happens to every request.
    pub fn of_all(what: What) -> Fault {
        Fault { op: None, prefix: String::new(), what, every: 1, times: usize::MAX }
    }

    /// Happens to every request of an operation.
    pub fn of(op: Op, what: What) -> Fault {
        Fault { op: Some(op), ..Fault::of_all(what) }
    }

    /// Only to names, `bucket/key`, with this prefix.
    #[must_use]
    pub fn below(self, prefix: &str) -> Fault {
        Fault { prefix: prefix.into(), ..self }
    }

    /// Only to each n-th such request.
    #[must_use]
    pub fn every(self, every: usize) -> Fault {
        Fault { every, ..self }
    }

    /// Only so often.
    #[must_use]
    pub fn times(self, times: usize) -> Fault {
        Fault { times, ..self }
    }

    fn is_about(&self, request: &Request) -> bool {
        self.op.is_none_or(|op| op == request.op) && request.name.starts_with(&self.prefix)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<State>>);

#[derive(Debug)]
struct State {
    fault: Fault,
    seen: usize,
    happened: usize,
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) delay: Duration,
    pub(crate) what: Option<What>,
}

impl Faults {
    pub(crate) fn add(&self, fault: Fault) {
        self.lock().push(State { fault, seen: 0, happened: 0 });
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    pub(crate) fn fate(&self, request: &Request) -> Fate {
        let mut fate = Fate::default();
        for state in self.lock().iter_mut().filter(|state| state.fault.is_about(request)) {
            state.seen += 1;
            if !state.seen.is_multiple_of(state.fault.every.max(1)) || state.happened >= state.fault.times {
                continue;
            }
            match state.fault.what {
                What::Delay(delay) => fate.delay += delay,
                what if fate.what.is_none() => fate.what = Some(what),
                _ => continue,
            }
            state.happened += 1;
        }
        fate
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_happens_when_it_should() {
        let faults = Faults::default();
        faults.add(Fault::of(Op::Put, What::Refuse(503)).below("b/out").every(2).times(2));
        faults.add(Fault::of_all(What::Delay(Duration::from_millis(3))));
        let fate = |op, name: &str| faults.fate(&Request { op, name: name.into() });
        let puts: Vec<_> = (0..7).map(|_| fate(Op::Put, "b/out/x").what.is_some()).collect();
        assert_eq!(puts, [false, true, false, true, false, false, false]);
        assert_eq!((fate(Op::Get, "b/out/x").what, fate(Op::Put, "b/in/x").what), (None, None));
        assert_eq!(fate(Op::Get, "").delay, Duration::from_millis(3));
    }
}
