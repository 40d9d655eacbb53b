//! libFuzzer's program for [`corecast_fuzz::request_head`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corecast_fuzz::request_head::check(data));
