//! See `holdfast_fuzz::wire::template`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    holdfast_fuzz::wire::template(input);
});
