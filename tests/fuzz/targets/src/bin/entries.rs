//! Entries of a log.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: wasmpipe_fuzz_targets::begin(wasmpipe_fuzz::entry_seeds),
    |data: &[u8]| wasmpipe_fuzz::entries(data)
);
