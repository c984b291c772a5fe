//! See the module `model`.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: wasmpipe_fuzz_ids::begin(wasmpipe_fuzz_ids::model_seeds),
    |data: &[u8]| wasmpipe_fuzz_ids::model(data)
);
