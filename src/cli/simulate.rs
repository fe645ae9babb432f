//! Simulate maps into an HDF5 file.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::{progress, write_json};
use crate::Result;
use crate::pipeline::{Kind, SimulateSettings, simulate};
use crate::simulators::Slab;

/// Simulate maps over the prior of (Omega_m, sigma_8) into an HDF5 file.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    armilla simulate --out maps.h5                                 400 × 5 lognormal maps of 32 × 32\n  \
    armilla simulate --kind gaussian --size 64 --out maps.h5       Gaussian maps of 64 × 64\n  \
    armilla simulate --simulations 16000 --maps-per-simulation 1 --out maps.h5\n\n\
    The parameters are a Latin hypercube over Omega_m 0.1 to 0.5 and sigma_8 0.6 to 1. The file holds `maps` \
    (maps, N, N) and `params` (simulations, 2), with names and bounds of the parameters as attributes. \
    The same seed gives the same file, byte for byte.")]
pub(super) struct Simulate {
    /// What is simulated.
    #[arg(long, value_enum, default_value = "lognormal")]
    kind: Kind,
    /// Pixels along a side.
    #[arg(long, value_name = "N", default_value_t = 32)]
    size: usize,
    /// The side of a map in Mpc/h.
    #[arg(long = "box", value_name = "LENGTH", default_value_t = 200.0)]
    side: f64,
    /// The depth that is projected, in Mpc/h.
    #[arg(long, value_name = "LENGTH", default_value_t = 20.0)]
    depth: f64,
    /// Simulations: points in parameter space.
    #[arg(long, value_name = "N", default_value_t = 400)]
    simulations: usize,
    /// Maps at each of them.
    #[arg(long, value_name = "N", default_value_t = 5)]
    maps_per_simulation: usize,
    /// The only source of randomness.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print what was written as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Written<'a> {
    out: &'a PathBuf,
    kind: Kind,
    size: usize,
    simulations: usize,
    maps_per_simulation: usize,
    seed: u64,
    parameters: &'a [String],
    seconds: f64,
}

impl Simulate {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<()> {
        let start = Instant::now();
        let settings = SimulateSettings {
            kind: self.kind,
            slab: Slab {
                size: self.size,
                side: self.side,
                depth: self.depth,
            },
            simulations: self.simulations,
            maps_per_simulation: self.maps_per_simulation,
            seed: self.seed,
        };
        let bar = progress::bar(self.simulations as u64, "simulating", true);
        let set = simulate(&settings, &|_| bar.inc(1));
        bar.finish_and_clear();
        let set = set?;
        set.write(&self.out)?;
        let seconds = start.elapsed().as_secs_f64();
        if self.json {
            let written = Written {
                out: &self.out,
                kind: self.kind,
                size: self.size,
                simulations: self.simulations,
                maps_per_simulation: self.maps_per_simulation,
                seed: self.seed,
                parameters: set.names(),
                seconds,
            };
            return write_json(out, &written);
        }
        let (n, size) = (set.len(), self.size);
        writeln!(
            out,
            "{}: {n} {} maps of {size}×{size} from {} simulations in {seconds:.1} s",
            self.out.display(),
            self.kind.name(),
            self.simulations
        )?;
        Ok(())
    }
}
