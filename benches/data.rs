//! Measure how fast data are read.
//!
//! ```sh
//! cargo bench --bench data            # or `-- read`
//! python3 benches/peers/data.py       # the same in Python, and the ratios
//! ```
//!
//! One function for each table. The rows go to `benches/peers/data_ours.jsonl`, the files to `target/bench-data`, where the
//! script finds them.

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use armilla::data::{FieldFile, MapPaths, MapSet};
use armilla::samplers::rng::{Purpose, stream};
use hdf5_pure::FileBuilder;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The least seconds of several calls, after one that warms up.
fn repeat(mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    const AT_LEAST: usize = 7;
    call()?;
    let mut least = f64::INFINITY;
    for _ in 0..AT_LEAST {
        let begin = Instant::now();
        call()?;
        least = least.min(begin.elapsed().as_secs_f64());
    }
    Ok(least)
}

const SIDE: usize = 256;
const MAPS: usize = 1000;
const BATCH: usize = 32;
const BATCHES: usize = 16;

/// Maps of a lognormal field without correlations, in three formats; made once.
fn files(folder: &Path) -> Result<[(&'static str, PathBuf); 3]> {
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

/// Reads files whole, map by map, and in random batches, from the system's cache.
fn read(folder: &Path) -> Result<Vec<Value>> {
    let mut rows = Vec::new();
    let mut random = stream(2, Purpose::Simulation, 0);
    let batches: Vec<Vec<usize>> = (0..BATCHES)
        .map(|_| (0..BATCH).map(|_| random.random_range(0..MAPS)).collect())
        .collect();
    let params = folder.join("params.txt");
    fs::create_dir_all(folder)?;
    fs::write(&params, (0..MAPS).map(|i| format!("{i}\n")).collect::<String>())?;
    let paths = MapPaths {
        params: Some(params.display().to_string()),
        ..MapPaths::default()
    };
    println!("{:<20}{:>12}{:>12}{:>12}", "read", "pass", "seconds", "MB/s");
    for (name, path) in files(folder)? {
        let file = FieldFile::open(&path, &paths)?;
        let set = MapSet::open(&[&path], &paths)?;
        let all: Vec<usize> = (0..MAPS).collect();
        for pass in ["batches", "single", "whole"] {
            let (seconds, maps) = match pass {
                "batches" => {
                    let seconds = repeat(|| {
                        for picks in &batches {
                            black_box(set.read_maps(picks)?);
                        }
                        Ok(())
                    })?;
                    (seconds, BATCHES * BATCH)
                }
                "single" => {
                    let seconds = repeat(|| {
                        for i in batches.iter().flatten() {
                            black_box(file.read(*i)?);
                        }
                        Ok(())
                    })?;
                    (seconds, BATCHES * BATCH)
                }
                _ => {
                    let seconds = repeat(|| {
                        black_box(set.read_maps(&all)?);
                        Ok(())
                    })?;
                    (seconds, MAPS)
                }
            };
            let rate = (maps * SIDE * SIDE * 4) as f64 / 1e6 / seconds;
            println!("{name:<20}{pass:>12}{seconds:>12.4}{rate:>12.0}");
            rows.push(
                json!({"table": "read", "case": name, "pass": pass, "seconds": seconds, "mb_per_second": rate}),
            );
        }
    }
    Ok(rows)
}

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("target/bench-data");
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    let chosen = |table: &str| wanted.is_empty() || wanted.iter().any(|w| w == table);
    let mut rows = Vec::new();
    if chosen("read") {
        rows.extend(read(&folder)?);
    }
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    fs::write(root.join("benches/peers/data_ours.jsonl"), lines)?;
    Ok(())
}
