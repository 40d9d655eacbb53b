//! libFuzzer's program for [`corecast_fuzz::assembly`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corecast_fuzz::assembly::check(data));
