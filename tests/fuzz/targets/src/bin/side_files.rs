//! Side files.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: wasmpipe_fuzz_targets::begin(wasmpipe_fuzz::side_seeds),
    |data: &[u8]| wasmpipe_fuzz::side_files(data)
);
