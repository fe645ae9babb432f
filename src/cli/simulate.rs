//! Simulate maps into an HDF5 file, or particles into a folder of snapshots.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{progress, write_json};
use crate::pipeline::{Kind, SimulateSettings, simulate, simulate_snapshots};
use crate::simulators::{Slab, Zeldovich};
use crate::{Error, Result};

/// Simulate maps over the prior of (Omega_m, sigma_8) into an HDF5 file, or particles into a folder of snapshots.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    armilla simulate --out maps.h5                                 400 × 5 lognormal maps of 32 × 32\n  \
    armilla simulate --kind gaussian --size 64 --out maps.h5       Gaussian maps of 64 × 64\n  \
    armilla simulate --simulations 16000 --maps-per-simulation 1 --out maps.h5\n  \
    armilla simulate --kind zeldovich --out snap/                  100 boxes of 64 × 64 × 64 particles\n\n\
    The parameters are a Latin hypercube over Omega_m 0.1 to 0.5 and sigma_8 0.6 to 1. The file holds `maps` \
    (maps, N, N) and `params` (simulations, 2), with names and bounds of the parameters as attributes. Particles are \
    written as in CAMELS: LH_0/snapshot_090.hdf5 and so on, and a table of the parameters; `armilla project` makes \
    maps of them. The same seed gives the same files, byte for byte.")]
pub(super) struct Simulate {
    /// What is simulated.
    #[arg(long, value_enum, default_value = "lognormal")]
    kind: Simulated,
    /// Pixels, or particles, along a side [default: 32, zeldovich 64].
    #[arg(long, value_name = "N")]
    size: Option<usize>,
    /// The side of a map or box in Mpc/h.
    #[arg(long = "box", value_name = "LENGTH", default_value_t = 200.0)]
    side: f64,
    /// The depth that is projected, in Mpc/h; not for particles [default: 20].
    #[arg(long, value_name = "LENGTH")]
    depth: Option<f64>,
    /// Simulations: points in parameter space [default: 400, zeldovich 100].
    #[arg(long, value_name = "N")]
    simulations: Option<usize>,
    /// Maps at each of them; not for particles [default: 5].
    #[arg(long, value_name = "N")]
    maps_per_simulation: Option<usize>,
    /// The redshift of the particles.
    #[arg(long, value_name = "Z")]
    redshift: Option<f64>,
    /// The only source of randomness.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The file to write; for particles the folder.
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Print what was written as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Simulated {
    /// A Gaussian density contrast δ.
    Gaussian,
    /// A lognormal density 1 + δ.
    Lognormal,
    /// Particles displaced by the Zel'dovich approximation.
    Zeldovich,
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

#[derive(Serialize)]
struct WrittenParticles<'a> {
    out: &'a PathBuf,
    kind: &'a str,
    size: usize,
    box_size: f64,
    redshift: f64,
    simulations: usize,
    seed: u64,
    table: PathBuf,
    seconds: f64,
}

impl Simulate {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<()> {
        let kind = match self.kind {
            Simulated::Gaussian => Kind::Gaussian,
            Simulated::Lognormal => Kind::Lognormal,
            Simulated::Zeldovich => return self.particles(out),
        };
        if self.redshift.is_some() {
            return Err(Error::Invalid(
                "--redshift is for particles; the maps are at redshift zero".to_owned(),
            ));
        }
        let start = Instant::now();
        let defaults = SimulateSettings::default();
        let settings = SimulateSettings {
            kind,
            slab: Slab {
                size: self.size.unwrap_or(defaults.slab.size),
                side: self.side,
                depth: self.depth.unwrap_or(defaults.slab.depth),
            },
            simulations: self.simulations.unwrap_or(defaults.simulations),
            maps_per_simulation: self.maps_per_simulation.unwrap_or(defaults.maps_per_simulation),
            seed: self.seed,
        };
        let bar = progress::bar(settings.simulations as u64, "simulating", true);
        let set = simulate(&settings, &|_| bar.inc(1));
        bar.finish_and_clear();
        let set = set?;
        set.write(&self.out)?;
        let seconds = start.elapsed().as_secs_f64();
        if self.json {
            let written = Written {
                out: &self.out,
                kind,
                size: settings.slab.size,
                simulations: settings.simulations,
                maps_per_simulation: settings.maps_per_simulation,
                seed: self.seed,
                parameters: set.names(),
                seconds,
            };
            return write_json(out, &written);
        }
        let (n, size) = (set.len(), settings.slab.size);
        writeln!(
            out,
            "{}: {n} {} maps of {size}×{size} from {} simulations in {seconds:.1} s",
            self.out.display(),
            kind.name(),
            settings.simulations
        )?;
        Ok(())
    }

    fn particles(&self, out: &mut dyn Write) -> Result<()> {
        let start = Instant::now();
        if self.depth.is_some() || self.maps_per_simulation.is_some() {
            return Err(Error::Invalid(
                "particles have no --depth and no --maps-per-simulation; `armilla project` makes maps of them".to_owned(),
            ));
        }
        let (size, simulations) = (self.size.unwrap_or(64), self.simulations.unwrap_or(100));
        let redshift = self.redshift.unwrap_or(0.0);
        let zeldovich = Zeldovich::new(size, self.side, redshift)?;
        let bar = progress::bar(simulations as u64, "simulating", true);
        let table = simulate_snapshots(&zeldovich, simulations, self.seed, &self.out, &|_| bar.inc(1));
        bar.finish_and_clear();
        let table = table?;
        let seconds = start.elapsed().as_secs_f64();
        if self.json {
            let written = WrittenParticles {
                out: &self.out,
                kind: "zeldovich",
                size,
                box_size: self.side,
                redshift,
                simulations,
                seed: self.seed,
                table,
                seconds,
            };
            return write_json(out, &written);
        }
        writeln!(
            out,
            "{}: {simulations} snapshots of {size}×{size}×{size} particles in {seconds:.1} s, parameters in {}",
            self.out.display(),
            table.file_name().unwrap_or_default().to_string_lossy()
        )?;
        Ok(())
    }
}
