//! See `holdfast_fuzz::filter::expression`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    holdfast_fuzz::filter::expression(input);
});
