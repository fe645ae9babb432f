//! Read weights, and the network that they belong to.
#![no_main]

use armilla::models::{Cpu, checkpoint};
use armilla_fuzz::with_file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    with_file(bytes, "safetensors", |path| {
        let _ = checkpoint::load(path);
        if let Ok(checkpoint) = checkpoint::Checkpoint::from_pytorch(path) {
            let _ = checkpoint.weights();
            let _ = checkpoint.network(&Cpu::default());
        }
    });
});
