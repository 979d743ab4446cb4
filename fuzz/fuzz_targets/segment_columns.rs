//! See `holdfast_fuzz::segment::columns`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: holdfast_fuzz::caught::allow(), |input: &[u8]| {
    holdfast_fuzz::segment::columns(input);
});
