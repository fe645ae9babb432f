//! Simulate snapshots into a folder, and project snapshots to maps and grids.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use armilla_samplers::rng::{Purpose, stream};
use rayon::prelude::*;

use crate::atomic::{cannot_write, write_atomically};
use crate::cosmology::{BOUNDS, PARAMETER_NAMES};
use crate::data::hdf5::{NewFile, Values};
use crate::data::{
    Axis, Deposit, Masses, NewSnapshot, ParameterTable, Scheme, SimulationFolder, Snapshot, Species,
    last_snapshot, simulation_folders,
};
use crate::simulators::{Zeldovich, latin_hypercube};
use crate::{Error, Result};

/// The snapshot of CAMELS at redshift zero.
const SNAPSHOT: &str = "snapshot_090.hdf5";

/// Simulates one box at each of `simulations` points of a Latin hypercube over (Ω_m, σ_8), in the layout of CAMELS:
/// `LH_0/snapshot_090.hdf5`, …, and a table of their parameters, whose path it returns.
///
/// `progress` hears how many simulations are complete. The same seed gives the same files, byte for byte. Each thread has
/// one simulation in memory, which takes 88 bytes for a particle: 88 GB for 10⁹ of them.
///
/// # Errors
///
/// No simulation, a folder that is not empty, and what cannot be written: the folder is then as it was.
pub fn simulate_snapshots(
    zeldovich: &Zeldovich,
    simulations: usize,
    seed: u64,
    folder: &Path,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<PathBuf> {
    let parameters = latin_hypercube(&BOUNDS, simulations, seed)?;
    let was_there = folder.exists();
    if was_there && fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_some()) {
        return Err(Error::file(
            folder,
            "this is no empty folder; name a new one for the simulations",
        ));
    }
    let result = fill(zeldovich, &parameters, seed, folder, progress);
    if result.is_err() {
        // All that is in it was written here; nothing more can be done about what cannot be removed.
        let _ = fs::remove_dir_all(folder);
        if was_there {
            let _ = fs::create_dir(folder);
        }
    }
    result
}

fn fill(
    zeldovich: &Zeldovich,
    parameters: &[f64],
    seed: u64,
    folder: &Path,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<PathBuf> {
    let dim = PARAMETER_NAMES.len();
    let complete = AtomicUsize::new(0);
    parameters
        .par_chunks_exact(dim)
        .enumerate()
        .try_for_each(|(i, theta)| {
            // The number of a map of a set is below that of its simulation; here there is one box.
            let mut stream = stream(seed, Purpose::Simulation, (i as u64) << 32);
            let particles = zeldovich.simulate(theta, &mut stream)?;
            let inside = folder.join(format!("LH_{i}"));
            fs::create_dir_all(&inside).map_err(|e| Error::file(&inside, cannot_write(&e)))?;
            let snapshot = NewSnapshot {
                header: &particles.header,
                species: Species::DarkMatter,
                positions: &particles.positions,
                velocities: &particles.velocities,
            };
            snapshot.write(inside.join(SNAPSHOT))?;
            progress(complete.fetch_add(1, Ordering::Relaxed) + 1);
            Ok::<_, Error>(())
        })?;
    let mut text = format!("#Name {} seed\n", PARAMETER_NAMES.join(" "));
    for (i, theta) in parameters.chunks_exact(dim).enumerate() {
        // The shortest digits that read back as the same number.
        let values: Vec<String> = theta.iter().map(f64::to_string).collect();
        text += &format!("LH_{i} {} {i}\n", values.join(" "));
    }
    let (side, size) = (zeldovich.side(), zeldovich.size());
    let path = folder.join(format!("CosmoAstroSeed_Zeldovich_L{side}n{size}_LH.txt"));
    write_atomically(&path, |out| {
        use std::io::Write;
        out.write_all(text.as_bytes())
            .map_err(|e| Error::file(&path, cannot_write(&e)))
    })?;
    Ok(path)
}

/// What to make of snapshots.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectSettings {
    /// Cells along a side.
    pub size: usize,
    /// The axes along which slabs are projected.
    pub axes: Vec<Axis>,
    /// The depth of a slab in Mpc/h; a fifth of the box where it is not given, as in CAMELS.
    pub depth: Option<f64>,
    /// How particles are shared among cells.
    pub scheme: Scheme,
    /// Which particles; all that there are where none is named.
    pub species: Vec<Species>,
    /// Grids of the whole box in place of maps.
    pub grid: bool,
    /// Numbers of particles in place of densities.
    pub counts: bool,
}

impl Default for ProjectSettings {
    /// The 15 maps of 256 × 256 of the CAMELS Multifield Dataset.
    fn default() -> Self {
        Self {
            size: 256,
            axes: Axis::ALL.to_vec(),
            depth: None,
            scheme: Scheme::Cic,
            species: Vec::new(),
            grid: false,
            counts: false,
        }
    }
}

/// Maps or grids of several simulations, and the parameters of these where they are known.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    /// Field after field, simulation after simulation; in one, axis after axis and slab after slab.
    pub fields: Vec<f32>,
    /// Fields, N, N, and for grids N once more.
    pub shape: Vec<usize>,
    /// Simulations.
    pub simulations: usize,
    /// The names of the parameters, and their values simulation after simulation.
    pub parameters: Option<(Vec<String>, Vec<f64>)>,
    /// The side of the box in Mpc/h.
    pub box_size: f64,
    /// The depth of a slab in Mpc/h; none for grids.
    pub depth: Option<f64>,
    /// The unit of the fields.
    pub unit: &'static str,
    settings: ProjectSettings,
}

/// The simulations of `inputs`: snapshots, and folders with a snapshot in each of their folders. Their parameters are in
/// `params`, else those of a folder in the table there, if there is one.
///
/// # Errors
///
/// Nothing named, a folder without snapshots, and one with several tables of which none is named.
pub fn find_simulations(inputs: &[PathBuf], params: Option<&Path>) -> Result<Vec<SimulationFolder>> {
    let mut simulations = Vec::new();
    for input in inputs {
        let last = if input.is_dir() {
            last_snapshot(input)?
        } else {
            Some(input.clone())
        };
        let Some(snapshot) = last else {
            simulations.extend(simulation_folders(input, params)?);
            continue;
        };
        // The files of one snapshot may have a folder of their own.
        let of_parts = |folder: &&Path| {
            let name = folder.file_name().unwrap_or_default();
            !name.to_string_lossy().starts_with("snapdir_")
        };
        let folder = snapshot.ancestors().skip(1).find(of_parts);
        let name = folder.and_then(Path::file_name).unwrap_or_default();
        simulations.push(SimulationFolder {
            name: name.to_string_lossy().into_owned(),
            snapshot,
            table: params.map(Path::to_owned),
        });
    }
    if simulations.is_empty() {
        return Err(Error::Invalid("no snapshot is named".to_owned()));
    }
    Ok(simulations)
}

/// The names of the parameters of all simulations, and the values of each; nothing where no table is known.
fn find_parameters(simulations: &[SimulationFolder]) -> Result<Option<(Vec<String>, Vec<f64>)>> {
    let mut tables: HashMap<&Path, ParameterTable> = HashMap::new();
    let mut known: Option<(&Path, Vec<String>)> = None;
    let mut values = Vec::new();
    for simulation in simulations {
        let Some(path) = simulation.table.as_deref() else {
            continue;
        };
        let table = match tables.entry(path) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(free) => free.insert(ParameterTable::read(path)?),
        };
        values.extend_from_slice(table.row_of(&simulation.name).map_err(|e| Error::file(path, e))?);
        match &known {
            None => known = Some((path, table.names().to_vec())),
            Some((first, names)) if names != table.names() => {
                return Err(Error::file(
                    path,
                    format!(
                        "its parameters are {}, those of {} are {}",
                        table.names().join(", "),
                        first.display(),
                        names.join(", ")
                    ),
                ));
            }
            Some(_) => {}
        }
    }
    let Some((path, names)) = known else {
        return Ok(None);
    };
    if let Some(without) = simulations.iter().find(|simulation| simulation.table.is_none()) {
        return Err(Error::file(
            &without.snapshot,
            format!(
                "no table has its parameters, while {} has those of others; name a table for all with --params",
                path.display()
            ),
        ));
    }
    Ok(Some((names, values)))
}

/// Spreads the particles of each simulation over maps or grids; `progress` hears how many are complete.
///
/// The fields are surface densities in (M☉/h)/(Mpc/h)², densities in (M☉/h)/(Mpc/h)³, or numbers of particles in a
/// cell.
///
/// # Errors
///
/// Snapshots that cannot be read, boxes of different sides, a simulation without a row where others have one, and
/// settings that make no sense.
pub fn project(
    simulations: &[SimulationFolder],
    settings: &ProjectSettings,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Projection> {
    let Some(first) = simulations.first() else {
        return Err(Error::Invalid("no snapshot is named".to_owned()));
    };
    // Before anything slow: a table that does not fit is told at once.
    let parameters = find_parameters(simulations)?;
    let box_size = Snapshot::open(&first.snapshot)?.header().box_size;
    let depth = settings.depth.unwrap_or(box_size / 5.0);
    let size = settings.size;
    let deposits = || -> Result<Vec<Deposit>> {
        if settings.grid {
            return Ok(vec![Deposit::grid(size, box_size, settings.scheme)?]);
        }
        let slabs = |&axis: &Axis| Deposit::slabs(size, box_size, axis, depth, settings.scheme);
        settings.axes.iter().map(slabs).collect()
    };
    let cells = if settings.grid {
        Deposit::grid_cells(size)?
    } else if settings.axes.is_empty() {
        return Err(Error::Invalid("name an axis to project along".to_owned()));
    } else {
        Deposit::slab_cells(size, box_size, depth)?.saturating_mul(settings.axes.len())
    };
    let total = cells.checked_mul(simulations.len());
    let mut fields = Vec::new();
    if total.is_none_or(|total| fields.try_reserve_exact(total).is_err()) {
        return Err(Error::Invalid(format!(
            "{} × {cells} cells do not fit in memory",
            simulations.len()
        )));
    }
    fields.resize(total.unwrap_or(0), 0f32);
    let cell = box_size / size as f64;
    let (unit, volume) = match (settings.counts, settings.grid) {
        (true, _) => ("particles", 1.0),
        (false, false) => ("(Msun/h)/(Mpc/h)^2", cell * cell),
        (false, true) => ("(Msun/h)/(Mpc/h)^3", cell * cell * cell),
    };

    let complete = AtomicUsize::new(0);
    let one = |(simulation, fields): (&SimulationFolder, &mut [f32])| -> Result<()> {
        let snapshot = Snapshot::open(&simulation.snapshot)?;
        let side = snapshot.header().box_size;
        if (side / box_size - 1.0).abs() > 1e-6 {
            return Err(Error::file(
                &simulation.snapshot,
                format!(
                    "its box is {side} Mpc/h wide, but that of {} {box_size}",
                    first.name
                ),
            ));
        }
        let mut deposits = deposits()?;
        let present = snapshot.species();
        let species = if settings.species.is_empty() {
            &present
        } else {
            &settings.species
        };
        for &species in species {
            snapshot.read(species, &mut |positions, masses| {
                let masses = if settings.counts {
                    Masses::Same(1.0)
                } else {
                    masses
                };
                deposits.iter_mut().try_for_each(|d| d.add(positions, masses))
            })?;
        }
        let values = deposits.into_iter().flat_map(Deposit::finish);
        for (to, from) in fields.iter_mut().zip(values) {
            *to = (from / volume) as f32;
        }
        progress(complete.fetch_add(1, Ordering::Relaxed) + 1);
        Ok(())
    };
    if settings.grid {
        // One grid at a time in memory: the work on each is shared already.
        simulations
            .iter()
            .zip(fields.chunks_exact_mut(cells))
            .try_for_each(one)?;
    } else {
        simulations
            .par_iter()
            .zip(fields.par_chunks_exact_mut(cells))
            .try_for_each(one)?;
    }
    let (dimension, count) = if settings.grid {
        (3, simulations.len())
    } else {
        (2, fields.len() / (size * size))
    };
    let mut shape = vec![count];
    shape.resize(1 + dimension, size);
    Ok(Projection {
        fields,
        shape,
        simulations: simulations.len(),
        parameters,
        box_size,
        depth: (!settings.grid).then_some(depth),
        unit,
        settings: settings.clone(),
    })
}

impl Projection {
    /// Write `maps` or `grids`, and `params` where they are known, into an HDF5 file that the other commands read.
    ///
    /// # Errors
    ///
    /// What cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let name = if self.settings.grid { "grids" } else { "maps" };
        let mut file = NewFile::new();
        file.dataset(name, &self.shape, Values::F32(&self.fields))?;
        file.attribute(name, "simulator", "snapshot")?;
        file.attribute(name, "box_size", self.box_size)?;
        file.attribute(name, "box_size_unit", "Mpc/h")?;
        if let Some(depth) = self.depth {
            file.attribute(name, "depth", depth)?;
            let axes: Vec<&str> = self.settings.axes.iter().map(|axis| axis.name()).collect();
            file.attribute(name, "axes", axes.join("").as_str())?;
        }
        file.attribute(name, "unit", self.unit)?;
        file.attribute(name, "scheme", self.settings.scheme.name())?;
        let species: Vec<&str> = self.settings.species.iter().map(|s| s.name()).collect();
        let species = if species.is_empty() {
            "all".to_owned()
        } else {
            species.join(" ")
        };
        file.attribute(name, "particles", species.as_str())?;
        if let Some((names, values)) = &self.parameters {
            file.dataset("params", &[self.simulations, names.len()], Values::F64(values))?;
            file.attribute("params", "names", names.as_slice())?;
        }
        file.write(path)
    }
}
