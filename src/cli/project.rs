//! Project snapshots to maps and grids.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::{note, progress, write_json};
use crate::Result;
use crate::data::{Axis, Scheme, Species};
use crate::pipeline::{ProjectSettings, find_simulations, project};

/// Project the particles of snapshots to maps, or put them on grids.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    armilla project LH_0/snapshot_090.hdf5 --out maps.h5           15 maps of 256 × 256: 3 axes × 5 slabs, as in CAMELS\n  \
    armilla project snapshot.hdf5 --size 256 --axis z --depth 5 --scheme cic --out map.h5\n  \
    armilla project Sims/IllustrisTNG/LH --params CosmoAstroSeed.txt --particles dm --out Mcdm.h5\n  \
    armilla project snap/ --size 32 --out maps.h5                  what `simulate --kind zeldovich` wrote\n  \
    armilla project snapshot.hdf5 --grid --size 128 --out grid.h5\n\n\
    A snapshot is a file (snapshot_###.hdf5, snap_###.hdf5), one of several (snap_###.0.hdf5), or a folder, of which it \
    is the last. A folder whose folders hold snapshots is a set of simulations; its table CosmoAstroSeed_*.txt gives \
    their parameters by name, each folder's its own; --params names one for all. The box is cut into as many whole slabs as fit along each axis. Fields are (Msun/h) per \
    (Mpc/h)² or (Mpc/h)³, kept as attributes with the side of the box in Mpc/h; nodes lie at i·L/N, as in Pylians.")]
pub(super) struct Project {
    /// Snapshots, or folders of simulations.
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// Cells along a side.
    #[arg(long, value_name = "N", default_value_t = 256)]
    size: usize,
    /// The axis to project along; may be given several times [default: x, y and z].
    #[arg(long, value_enum, conflicts_with = "grid")]
    axis: Vec<Axis>,
    /// The depth of a slab in Mpc/h [default: a fifth of the box].
    #[arg(long, value_name = "LENGTH", conflicts_with = "grid")]
    depth: Option<f64>,
    /// How a particle is shared among cells.
    #[arg(long, value_enum, default_value = "cic")]
    scheme: Scheme,
    /// Which particles: gas, dm, disk, tracers, stars or bh; may be given several times [default: all].
    #[arg(long, value_name = "NAME")]
    particles: Vec<Species>,
    /// Grids of the whole box in place of maps.
    #[arg(long)]
    grid: bool,
    /// Numbers of particles in place of densities.
    #[arg(long)]
    counts: bool,
    /// The table of the simulations' parameters [default: the one in their folder].
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,
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
    shape: &'a [usize],
    simulations: usize,
    parameters: Option<&'a [String]>,
    scheme: Scheme,
    box_size: f64,
    depth: Option<f64>,
    unit: &'a str,
    mean: f64,
    seconds: f64,
}

impl Project {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<()> {
        let start = Instant::now();
        let simulations = find_simulations(&self.inputs, self.params.as_deref())?;
        let axes = if self.axis.is_empty() {
            Axis::ALL.to_vec()
        } else {
            self.axis.clone()
        };
        let settings = ProjectSettings {
            size: self.size,
            axes,
            depth: self.depth,
            scheme: self.scheme,
            species: self.particles.clone(),
            grid: self.grid,
            counts: self.counts,
        };
        let bar = progress::bar(simulations.len() as u64, "projecting", true);
        let projection = project(&simulations, &settings, &|_| bar.inc(1));
        bar.finish_and_clear();
        let projection = projection?;
        projection.write(&self.out)?;
        let names = projection.parameters.as_ref().map(|(names, _)| names.as_slice());
        if names.is_none() && simulations.len() > 1 {
            note("there is no table of parameters; name one with --params to train on these fields");
        }
        let sum: f64 = projection.fields.iter().map(|&x| f64::from(x)).sum();
        let mean = sum / projection.fields.len() as f64;
        let seconds = start.elapsed().as_secs_f64();
        if self.json {
            let written = Written {
                out: &self.out,
                shape: &projection.shape,
                simulations: projection.simulations,
                parameters: names,
                scheme: self.scheme,
                box_size: projection.box_size,
                depth: projection.depth,
                unit: projection.unit,
                mean,
                seconds,
            };
            return write_json(out, &written);
        }
        let (count, size) = (projection.shape[0], self.size);
        let fields = if self.grid {
            format!("{count} grids of {size}×{size}×{size}")
        } else {
            format!("{count} maps of {size}×{size}")
        };
        let depth = projection.depth.map_or(String::new(), |d| format!(", {d} deep"));
        writeln!(
            out,
            "{}: {fields} from {} simulation{} in {seconds:.1} s: {} Mpc/h wide{depth}, mean {mean:.5e} {}",
            self.out.display(),
            projection.simulations,
            if projection.simulations == 1 { "" } else { "s" },
            projection.box_size,
            projection.unit
        )?;
        if let Some(names) = names {
            writeln!(out, "parameters: {}", names.join(", "))?;
        }
        Ok(())
    }
}
