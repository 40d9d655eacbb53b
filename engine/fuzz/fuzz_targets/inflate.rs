//! libFuzzer's program for [`corecast_fuzz::inflate`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corecast_fuzz::inflate::check(data));
