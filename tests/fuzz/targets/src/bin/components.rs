//! Components, from file to rows.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: wasmpipe_fuzz_targets::begin(wasmpipe_fuzz::component_seeds),
    |data: &[u8]| wasmpipe_fuzz::components(data)
);
