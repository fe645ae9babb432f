//! List an HDF5 file, read each of its datasets, and look for maps in it.
#![no_main]

use armilla::data::{FieldFile, MapPaths, MapSet, hdf5::Hdf5File};
use armilla_fuzz::{FEW_VALUES, with_file};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    with_file(bytes, "h5", |path| {
        let Ok(file) = Hdf5File::open(path) else { return };
        let _ = file.groups();
        for info in file.datasets().unwrap_or_default() {
            let Ok(dataset) = file.dataset(&info.path) else {
                continue;
            };
            let rows = dataset.rows();
            let _ = dataset.read_rows::<f32>(rows.saturating_sub(2)..rows);
            let values = dataset
                .shape()
                .iter()
                .try_fold(1_usize, |n, &side| n.checked_mul(side));
            if values.is_some_and(|n| n <= FEW_VALUES) {
                let _ = dataset.read::<f64>();
            }
        }
        let paths = MapPaths::default();
        if let Ok(file) = FieldFile::open(path, &paths)
            && file.len() > 0
        {
            let _ = file.read(file.len() - 1);
        }
        let _ = MapSet::open(&[path], &paths);
    });
});
