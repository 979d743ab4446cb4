//! See `holdfast_fuzz::journal::directory`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    holdfast_fuzz::journal::directory(input);
});
