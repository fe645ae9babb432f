//! Read maps from files in the system's cache: in random batches, one by one, and all at once.

use std::{
    fs,
    hint::black_box,
    path::{Path, PathBuf},
};

use armilla::data::{FieldFile, MapPaths, MapSet};
use armilla::samplers::rng::{Purpose, stream};
use hdf5_pure::FileBuilder;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

use super::{Bench, Error};

const SIDE: usize = 256;
const MAPS: usize = 1000;
const BATCH: usize = 32;
const BATCHES: usize = 16;

/// Maps of a lognormal field without correlations, in three formats; made once.
fn files(folder: &Path) -> Result<[(&'static str, PathBuf); 3], Error> {
    let paths = [
        ("hdf5_contiguous", folder.join("contiguous.h5")),
        ("hdf5_gzip", folder.join("gzip.h5")),
        ("npy", folder.join("maps.npy")),
    ];
    if paths.iter().all(|(_, path)| path.is_file()) {
        return Ok(paths);
    }
    fs::create_dir_all(folder)?;
    let mut random = stream(1, Purpose::Simulation, 0);
    let maps: Vec<f32> = (0..MAPS * SIDE * SIDE)
        .map(|_| {
            let x: f32 = StandardNormal.sample(&mut random);
            // A few digits, as compressed files have them.
            ((0.5 * x).exp() * 64.0).round() * 1e9
        })
        .collect();
    let params: Vec<f64> = (0..MAPS).map(|i| i as f64).collect();
    let (n, side) = (MAPS as u64, SIDE as u64);
    for (name, path) in &paths[..2] {
        let mut file = FileBuilder::new();
        let dataset = file.create_dataset("maps").with_f32_data(&maps);
        dataset.with_shape(&[n, side, side]);
        if *name == "hdf5_gzip" {
            dataset
                .with_chunks(&[1, side, side])
                .with_shuffle()
                .with_deflate(4);
        }
        file.create_dataset("params")
            .with_f64_data(&params)
            .with_shape(&[n, 1]);
        file.write(path)?;
    }
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({MAPS}, {SIDE}, {SIDE}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut npy = b"\x93NUMPY\x01\x00".to_vec();
    npy.extend((header.len() as u16).to_le_bytes());
    npy.extend(header.as_bytes());
    npy.extend(maps.iter().flat_map(|x| x.to_le_bytes()));
    fs::write(&paths[2].1, npy)?;
    Ok(paths)
}

/// The files stay in `target/bench-data`, where the script finds them.
pub(crate) fn reading(bench: &mut Bench) -> Result<(), Error> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-data");
    let mut random = stream(2, Purpose::Simulation, 0);
    let batches: Vec<Vec<usize>> = (0..BATCHES)
        .map(|_| (0..BATCH).map(|_| random.random_range(0..MAPS)).collect())
        .collect();
    let params = folder.join("params.txt");
    fs::create_dir_all(&folder)?;
    fs::write(&params, (0..MAPS).map(|i| format!("{i}\n")).collect::<String>())?;
    let paths = MapPaths {
        params: Some(params.display().to_string()),
        ..MapPaths::default()
    };
    let all: Vec<usize> = (0..MAPS).collect();
    let bytes = |maps: usize| 4 * maps * SIDE * SIDE;
    println!("\n{:<28}{:>12}", "reading", "seconds");
    for (name, path) in files(&folder)? {
        let file = FieldFile::open(&path, &paths)?;
        let set = MapSet::open(&[&path], &paths)?;
        bench.case(
            &format!("{name}_batches"),
            bytes(BATCHES * BATCH),
            "bytes",
            || {
                for picks in &batches {
                    black_box(set.read_maps(picks)?);
                }
                Ok(())
            },
        )?;
        bench.case(&format!("{name}_single"), bytes(BATCHES * BATCH), "bytes", || {
            for i in batches.iter().flatten() {
                black_box(file.read(*i)?);
            }
            Ok(())
        })?;
        bench.case(&format!("{name}_whole"), bytes(MAPS), "bytes", || {
            black_box(set.read_maps(&all)?);
            Ok(())
        })?;
    }
    Ok(())
}
