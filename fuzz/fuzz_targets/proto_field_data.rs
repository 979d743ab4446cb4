//! See `holdfast_fuzz::wire::field_data`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    holdfast_fuzz::wire::field_data(input);
});
