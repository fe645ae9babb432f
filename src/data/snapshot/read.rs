//! Read the particles of a snapshot, part after part.

use std::path::{Path, PathBuf};

use super::files::{last_snapshot, parts};
use super::header::{FileHeader, Header, Species};
use super::units;
use crate::data::Masses;
use crate::data::hdf5::Hdf5File;
use crate::{Error, Result};

/// Particles that are read at once: 24 MB of positions.
const AT_ONCE: usize = 1 << 20;

/// A snapshot of Gadget, AREPO or GIZMO in HDF5: one file or several, under the old names (`snap_033.hdf5`) or the new
/// (`snapshot_090.hdf5`). Coordinates are in kpc/h and masses in 10¹⁰ M☉/h unless the header's units say Mpc/h and M☉/h.
///
/// ```no_run
/// use armilla::data::{Deposit, Scheme, Snapshot, Species};
///
/// let snapshot = Snapshot::open("LH_0/snapshot_090.hdf5")?;
/// let mut grid = Deposit::grid(256, snapshot.header().box_size, Scheme::Cic)?;
/// snapshot.read(Species::DarkMatter, &mut |positions, masses| grid.add(positions, masses))?;
/// # Ok::<(), armilla::Error>(())
/// ```
#[derive(Debug)]
pub struct Snapshot {
    parts: Vec<Part>,
    header: Header,
    length: f64,
    mass: f64,
}

#[derive(Debug)]
struct Part {
    path: PathBuf,
    counts: [u64; 6],
}

impl Snapshot {
    /// Open the snapshot at `path`: its file, any of its files, or a folder, of which it is the last.
    ///
    /// # Errors
    ///
    /// A path without a snapshot, files that are missing, and headers that do not agree.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let found;
        let path = if path.is_dir() {
            found = last_snapshot(path)?.ok_or_else(|| {
                Error::file(
                    path,
                    "this folder holds no snapshot (snapshot_###.hdf5, snap_###.hdf5 or snapdir_###/)",
                )
            })?;
            &found
        } else {
            path
        };
        let first = header(path)?;
        let mut seen = [0u64; 6];
        let mut all = Vec::new();
        for part in parts(path, first.files)? {
            let its = if part == path {
                header(path)?.here
            } else {
                header(&part)?.here
            };
            for (sum, n) in seen.iter_mut().zip(its) {
                *sum = sum.saturating_add(n);
            }
            all.push(Part {
                path: part,
                counts: its,
            });
        }
        if seen != first.header.counts {
            return Err(Error::file(
                path,
                format!(
                    "the header says that there are {:?} particles, but its {} files hold {seen:?}",
                    first.header.counts,
                    all.len()
                ),
            ));
        }
        Ok(Self {
            parts: all,
            header: first.header,
            length: first.length,
            mass: first.mass,
        })
    }

    /// What its header says.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The species that there are particles of.
    pub fn species(&self) -> Vec<Species> {
        Species::ALL.into_iter().filter(|&s| self.count(s) > 0).collect()
    }

    /// How many particles of a species there are.
    pub fn count(&self, species: Species) -> u64 {
        self.header.counts[species as usize]
    }

    /// Hands over the particles of a species, a million at a time and always in the same order: coordinates in Mpc/h, and
    /// masses in M☉/h.
    ///
    /// # Errors
    ///
    /// A species that there is none of, a damaged file, and what `take` returns.
    pub fn read(
        &self,
        species: Species,
        take: &mut dyn FnMut(&[f64], Masses<'_>) -> Result<()>,
    ) -> Result<()> {
        if self.count(species) == 0 {
            let present: Vec<&str> = self.species().into_iter().map(Species::name).collect();
            return Err(Error::file(
                &self.parts[0].path,
                format!("there are no particles `{species}`, only {}", present.join(", ")),
            ));
        }
        let mass = self.header.masses[species as usize];
        for part in self.parts.iter().filter(|part| part.counts[species as usize] > 0) {
            let file = Hdf5File::open(&part.path)?;
            let count = part.counts[species as usize];
            let coordinates = file.dataset(&format!("{}/Coordinates", species.group()))?;
            if coordinates.info().shape != [count, 3] {
                return Err(coordinates.error(format!(
                    "its shape is {:?}, but the header says that there are {count} particles",
                    coordinates.info().shape
                )));
            }
            let masses = if mass > 0.0 {
                None
            } else {
                let masses = file.dataset(&format!("{}/Masses", species.group()))?;
                if masses.info().shape != [count] {
                    return Err(masses.error(format!(
                        "its shape is {:?}, but there are {count} particles",
                        masses.info().shape
                    )));
                }
                Some(masses)
            };
            // What was never written takes no room in a file, but forever to read.
            coordinates.check_size()?;
            let rows = coordinates.rows();
            for start in (0..rows).step_by(AT_ONCE) {
                let range = start..(start + AT_ONCE).min(rows);
                let mut positions: Vec<f64> = coordinates.read_rows(range.clone())?;
                positions.iter_mut().for_each(|x| *x *= self.length);
                match &masses {
                    None => take(&positions, Masses::Same(mass))?,
                    Some(masses) => {
                        let mut each: Vec<f64> = masses.read_rows(range)?;
                        each.iter_mut().for_each(|m| *m *= self.mass);
                        take(&positions, Masses::Each(&each))?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn header(path: &Path) -> Result<FileHeader> {
    let file = Hdf5File::open(path)?;
    let attributes = units::header(&file).map_err(|_| {
        Error::file(
            path,
            "its group `Header` cannot be read: it is no snapshot, or damaged",
        )
    })?;
    FileHeader::of(path, &attributes)
}
