//! See `holdfast_fuzz::segment::keys`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| holdfast_fuzz::segment::keys(input));
