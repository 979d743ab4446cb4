//! See `holdfast_fuzz::wire::placeholder`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    holdfast_fuzz::wire::placeholder(input);
});
