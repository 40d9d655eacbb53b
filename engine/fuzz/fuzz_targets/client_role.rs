//! libFuzzer's program for [`corecast_fuzz::client_role`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corecast_fuzz::client_role::check(data));
