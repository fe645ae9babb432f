//! Time how fast data is read and summarised.
//!
//! `cargo bench --bench data` prints a table for each kind of work; a name (`cargo bench --bench data -- cic`) takes only
//! the cases that contain it. The lines go to `benches/peers/data_ours.jsonl` too, of which `benches/peers/data.py` makes
//! ratios to h5py, NumPy and Pylians.

mod reading;

use std::{
    env, fs,
    time::{Duration, Instant},
};

use armilla::data::{Axis, Deposit, Masses, Scheme};
use armilla::samplers::rng::{Purpose, stream};
use armilla::stats::SpectrumEstimator;
use rand::RngExt;

type Error = Box<dyn std::error::Error>;

/// How long a case is repeated, and how often at least.
const WHILE: Duration = Duration::from_secs(2);
const AT_LEAST: usize = 3;
/// The side of the box; of no influence on the times.
const BOX: f64 = 25.0;
const PARTICLES: usize = 4_000_000;

/// The cases that were asked for, and the lines of those that were timed.
struct Bench {
    wanted: Vec<String>,
    lines: Vec<String>,
}

impl Bench {
    /// Times a case, and prints it with how many of `unit` it did in a second.
    fn case(
        &mut self,
        name: &str,
        count: usize,
        unit: &str,
        mut run: impl FnMut() -> Result<(), Error>,
    ) -> Result<(), Error> {
        if !self.wanted.is_empty() && !self.wanted.iter().any(|w| name.contains(w.as_str())) {
            return Ok(());
        }
        run()?;
        let (start, mut least, mut repeats) = (Instant::now(), f64::INFINITY, 0);
        while repeats < AT_LEAST || start.elapsed() < WHILE {
            let begin = Instant::now();
            run()?;
            least = least.min(begin.elapsed().as_secs_f64());
            repeats += 1;
        }
        let rate = count as f64 / least / 1e6;
        println!("{name:<28}{least:>12.4}{rate:>12.2} million {unit}/s");
        let line = serde_json::json!({"case": name, "seconds": least, "count": count, "unit": unit});
        self.lines.push(line.to_string());
        Ok(())
    }
}

fn uniform(count: usize) -> Vec<f64> {
    let mut stream = stream(1, Purpose::Simulation, 0);
    (0..count).map(|_| stream.random::<f64>() * BOX).collect()
}

/// Uniform particles, in no order, to a map of 256² and a grid of 256³.
fn deposition(bench: &mut Bench) -> Result<(), Error> {
    println!("\n{:<28}{:>12}", "deposition", "seconds");
    let positions = uniform(3 * PARTICLES);
    for scheme in [Scheme::Ngp, Scheme::Cic, Scheme::Tsc, Scheme::Pcs] {
        bench.case(
            &format!("map_256_{}", scheme.name()),
            PARTICLES,
            "particles",
            || {
                let mut map = Deposit::slabs(256, BOX, Axis::Z, BOX, scheme)?;
                map.add(&positions, Masses::Same(1.0))?;
                assert!(map.finish()[0] > 0.0);
                Ok(())
            },
        )?;
    }
    for scheme in [Scheme::Ngp, Scheme::Cic, Scheme::Tsc, Scheme::Pcs] {
        bench.case(
            &format!("grid_256_{}", scheme.name()),
            PARTICLES,
            "particles",
            || {
                let mut grid = Deposit::grid(256, BOX, scheme)?;
                grid.add(&positions, Masses::Same(1.0))?;
                assert!(grid.finish()[0] >= 0.0);
                Ok(())
            },
        )?;
    }
    Ok(())
}

/// Power spectra of white noise.
fn spectra(bench: &mut Bench) -> Result<(), Error> {
    use rayon::prelude::*;
    println!("\n{:<28}{:>12}", "power spectrum", "seconds");
    let maps = 100;
    let fields = uniform(maps * 256 * 256);
    let estimator = SpectrumEstimator::new(256, BOX)?;
    bench.case("spectra_100_maps_256", fields.len(), "pixels", || {
        let one = |map: &[f64]| estimator.power(map).map(|spectrum| spectrum.power[0]);
        let powers: Vec<f64> = fields
            .par_chunks_exact(256 * 256)
            .map(one)
            .collect::<Result<_, _>>()?;
        assert!(powers[0] > 0.0);
        Ok(())
    })?;
    for size in [128, 256] {
        let grid = uniform(size * size * size);
        let estimator = SpectrumEstimator::new(size, BOX)?;
        bench.case(&format!("spectrum_grid_{size}"), grid.len(), "cells", || {
            assert!(estimator.power(&grid)?.power[0] > 0.0);
            Ok(())
        })?;
    }
    Ok(())
}

fn main() -> Result<(), Error> {
    let wanted: Vec<String> = env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let mut bench = Bench {
        wanted,
        lines: Vec::new(),
    };
    reading::reading(&mut bench)?;
    deposition(&mut bench)?;
    spectra(&mut bench)?;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/data_ours.jsonl");
    fs::write(path, bench.lines.join("\n") + "\n")?;
    println!("\nwritten to {path}");
    Ok(())
}
