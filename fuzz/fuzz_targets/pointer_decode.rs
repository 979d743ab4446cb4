//! See `holdfast_fuzz::stored::pointer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    holdfast_fuzz::stored::pointer(input);
});
