#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match bridge_fuzz::dlpack::import(bytes) {
        true => Corpus::Keep,
        false => Corpus::Reject,
    }
});
