//! Claims and manifests.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: wasmpipe_fuzz_targets::begin(wasmpipe_fuzz::sink_seeds),
    |data: &[u8]| wasmpipe_fuzz::sink_documents(data)
);
