//! See `holdfast_fuzz::log::record`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: holdfast_fuzz::caught::allow(), |input: &[u8]| {
    holdfast_fuzz::log::record(input);
});
