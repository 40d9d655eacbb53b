//! libFuzzer's program for [`corecast_fuzz::deflate`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corecast_fuzz::deflate::check(data));
