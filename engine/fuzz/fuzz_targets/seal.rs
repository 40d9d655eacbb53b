//! libFuzzer's program for [`corecast_fuzz::seal`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corecast_fuzz::seal::check(data));
