//! See `holdfast_fuzz::segment::whole`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: holdfast_fuzz::caught::allow(), |input: &[u8]| {
    holdfast_fuzz::segment::whole(input);
});
