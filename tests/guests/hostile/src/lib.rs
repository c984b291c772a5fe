//! Test guests, made with the SDK: functions that misbehave (`hostile`), and small honest ones whose results a test can
//! predict (`honest`). Guests that break the contract's words are in the crate `liar`.

mod honest;
mod hostile;

use honest::{copies, double, drop_odd, errors_on, none, nothing_needed, same, shout, sleepy, twice};
use hostile::{
    broken, deep_recursion, dies, grow, host_calls_forever, leak, log_flood, long_error, panics_on, poisoned,
    remembers, spin, spin_in_bind, wide,
};

wasmpipe_sdk::export!(
    copies,
    double,
    drop_odd,
    errors_on,
    none,
    nothing_needed,
    same,
    shout,
    sleepy,
    twice,
    broken,
    deep_recursion,
    dies,
    grow,
    host_calls_forever,
    leak,
    log_flood,
    long_error,
    panics_on,
    poisoned,
    remembers,
    spin,
    spin_in_bind,
    wide,
);
