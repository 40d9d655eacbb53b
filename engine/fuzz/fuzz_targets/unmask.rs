//! libFuzzer's program for [`corecast_fuzz::unmask`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corecast_fuzz::unmask::check(data));
