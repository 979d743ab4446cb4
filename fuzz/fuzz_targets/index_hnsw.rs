//! See `holdfast_fuzz::index::hnsw`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    holdfast_fuzz::index::hnsw(input);
});
