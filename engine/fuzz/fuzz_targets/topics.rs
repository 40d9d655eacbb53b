//! libFuzzer's program for [`corecast_fuzz::topics`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corecast_fuzz::topics::check(data));
