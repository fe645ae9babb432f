//! Read the YAML of a training.
#![no_main]

use armilla::pipeline::TrainConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = TrainConfig::parse(text, 64);
});
