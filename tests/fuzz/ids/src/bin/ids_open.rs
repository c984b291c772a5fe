//! See the module `open`.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: wasmpipe_fuzz_ids::begin(wasmpipe_fuzz_ids::open_seeds),
    |data: &[u8]| wasmpipe_fuzz_ids::open(data)
);
