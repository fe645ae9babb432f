//! Read the first and last rows of a NumPy file.
#![no_main]

use armilla::data::NpyFile;
use armilla_fuzz::with_file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    with_file(bytes, "npy", |path| {
        let Ok(file) = NpyFile::open(path) else { return };
        let rows = file.rows();
        let _ = file.read_rows::<f32>(0..rows.min(2));
        let _ = file.read_rows::<f64>(rows.saturating_sub(2)..rows);
        let _ = file.read_rows::<f32>(rows..rows.saturating_add(1));
    });
});
