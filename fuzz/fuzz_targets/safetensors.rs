#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bridge_fuzz::read_file("safetensors", bytes));
