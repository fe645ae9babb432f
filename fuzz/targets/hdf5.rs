//! List an HDF5 file, read each of its datasets, and take it for everything that such a file can be: fields to measure
//! and to learn from, a snapshot and a catalogue.
#![no_main]

use std::path::Path;

use armilla::data::{
    Catalogue, Deposit, FieldFile, MapPaths, MapSet, Scheme, Snapshot, hdf5::Hdf5File,
};
use armilla::pipeline::spectra::{SpectraSettings, spectra};
use armilla_fuzz::{FEW_VALUES, with_file};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    with_file(bytes, "h5", |path| {
        let Ok(file) = Hdf5File::open(path) else { return };
        let _ = file.groups();
        let mut all_few = true;
        for info in file.datasets().unwrap_or_default() {
            let Ok(dataset) = file.dataset(&info.path) else {
                continue;
            };
            let rows = dataset.rows();
            let _ = dataset.read_rows::<f32>(rows.saturating_sub(2)..rows);
            if are_few(dataset.shape()) {
                let _ = dataset.read::<f64>();
            } else {
                all_few = false;
            }
        }
        fields(path);
        particles(path);
        if let Ok(catalogue) = Catalogue::open(path)
            && all_few
        {
            for name in catalogue.names() {
                let _ = catalogue.read(name);
            }
        }
    });
});

fn are_few(shape: &[usize]) -> bool {
    let values = shape.iter().try_fold(1_usize, |n, &side| n.checked_mul(side));
    values.is_some_and(|n| n <= FEW_VALUES)
}

/// Read the last field, measure all if they are few, and draw from them as a training does.
fn fields(path: &Path) {
    let paths = MapPaths::default();
    if let Ok(file) = FieldFile::open(path, &paths)
        && file.len() > 0
    {
        let _ = file.read(file.len() - 1);
        if are_few(&[&[file.len()], file.shape()].concat()) {
            let _ = spectra(path, &SpectraSettings::default(), &|_| ());
            let given = SpectraSettings {
                box_size: Some(25.0),
                corrected: Some(Scheme::Cic),
                ..SpectraSettings::default()
            };
            let _ = spectra(path, &given, &|_| ());
        }
    }
    if let Ok(set) = MapSet::open(&[path], &paths) {
        let last = set.len() - 1;
        if are_few(&[2, set.side(), set.side()]) {
            let _ = set.read_maps(&[last, 0]);
        }
        if are_few(&[set.len(), set.side(), set.side()]) {
            let _ = set.loaded();
        }
    }
}

/// Put the particles of each species on a grid.
fn particles(path: &Path) {
    let Ok(snapshot) = Snapshot::open(path) else { return };
    let Ok(mut grid) = Deposit::grid(8, snapshot.header().box_size, Scheme::Tsc) else {
        return;
    };
    for species in snapshot.species() {
        if snapshot.count(species) <= FEW_VALUES as u64 {
            let _ = snapshot.read(species, &mut |positions, masses| grid.add(positions, masses));
        }
    }
}
