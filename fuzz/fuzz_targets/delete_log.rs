//! See `holdfast_fuzz::stored::delete_log`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    holdfast_fuzz::stored::delete_log(input);
});
