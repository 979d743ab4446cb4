//! See `holdfast_fuzz::log::directory`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    holdfast_fuzz::log::directory(input);
});
