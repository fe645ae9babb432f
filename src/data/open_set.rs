//! Open files of maps as one set.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::MapSet;
use super::dataset::{Maps, SetFile, check_params};
use super::field_file::{FieldFile, MapPaths};
use crate::{Error, Result};

impl MapSet {
    /// The set of the maps in `files`, which stay there until they are asked for.
    ///
    /// Files are HDF5 or `.npy`. In HDF5 the names of the parameters are those in their attribute `names`, else
    /// [`camels_names`](super::camels_names), and the bounds those in their attributes `lower` and `upper`; the table of a
    /// CAMELS `.npy` file is found beside it by its name.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, shapes that do not fit each other, parameters that are not there or not finite, and
    /// files that share a simulation: one part of a split would know the other.
    pub fn open<P: AsRef<Path>>(files: &[P], paths: &MapPaths) -> Result<Self> {
        let mut set: Option<Self> = None;
        let mut opened = Vec::with_capacity(files.len());
        // Bits of a row of parameters, and the file that has it.
        let mut seen: HashMap<Vec<u64>, usize> = HashMap::new();
        for (number, path) in files.iter().enumerate() {
            let path = path.as_ref();
            let file = FieldFile::open(path, paths)?;
            let fail = |what: String| Err(Error::file(path, what));
            let &[side, _] = file.shape() else {
                return fail(format!(
                    "it holds grids of {:?} cells; networks learn from maps: name some with --maps",
                    file.shape()
                ));
            };
            let Some(parameters) = file.parameters(paths)? else {
                return Err(file.no_parameters());
            };
            check_params(&parameters.values, &parameters.names).map_err(|e| Error::file(path, e))?;
            let simulations = parameters.values.len() / parameters.names.len();
            if file.len() == 0 {
                return fail("it holds no maps".into());
            }
            for row in parameters.values.chunks_exact(parameters.names.len()) {
                let bits = row.iter().map(|x| x.to_bits()).collect();
                let first = *seen.entry(bits).or_insert(number);
                if first != number {
                    return fail(format!(
                        "it shares simulations with {} (parameters {row:?}); maps of one simulation must not come into \
                         several parts of a set",
                        files[first].as_ref().display()
                    ));
                }
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let listed = SetFile {
                name: name.into_owned(),
                simulations,
            };
            let per_simulation = file.per_simulation(simulations);
            let count = file.len();
            match &mut set {
                None => {
                    let (bounds, logarithmic) = match parameters.bounds {
                        Some((bounds, logarithmic)) => (Some(bounds), logarithmic),
                        None => (None, vec![false; parameters.names.len()]),
                    };
                    set = Some(Self {
                        maps: Maps::Memory(Arc::new(Vec::new())),
                        count,
                        side,
                        params: parameters.values,
                        names: parameters.names,
                        bounds,
                        logarithmic,
                        origin: file.origin(),
                        unit: file.unit().map(str::to_owned),
                        files: vec![listed],
                    });
                    opened.push((0, file));
                }
                Some(set) => {
                    let (before, first) = (set.maps_per_simulation(), &set.files[0].name);
                    if parameters.names != set.names {
                        return fail(format!(
                            "its parameters are {}, those of {first} are {}",
                            parameters.names.join(", "),
                            set.names.join(", ")
                        ));
                    }
                    if side != set.side || per_simulation != before {
                        return fail(format!(
                            "it holds {per_simulation} maps of {side}×{side} for each simulation, {first} {before} of {0}×{0}",
                            set.side
                        ));
                    }
                    let bounds = parameters.bounds.map(|(bounds, _)| bounds);
                    set.bounds = set.bounds.take().filter(|own| Some(own) == bounds.as_ref());
                    set.origin = set
                        .origin
                        .take()
                        .filter(|own| Some(own) == file.origin().as_ref());
                    set.unit = set.unit.take().filter(|own| Some(own.as_str()) == file.unit());
                    opened.push((set.count, file));
                    set.count += count;
                    set.params.extend(parameters.values);
                    set.files.push(listed);
                }
            }
        }
        let Some(mut set) = set else {
            return Err(Error::Invalid("a set needs at least one file".into()));
        };
        set.maps = Maps::Files(Arc::new(opened));
        Ok(set)
    }
}
