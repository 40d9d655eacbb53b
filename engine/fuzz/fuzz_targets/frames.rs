//! libFuzzer's program for [`corecast_fuzz::frames`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corecast_fuzz::frames::check(data));
