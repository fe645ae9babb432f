//! Hold maps and the parameters of the simulations they come from.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::hdf5::{Attributes, Hdf5Dataset, Hdf5File, NewFile, Values};
use super::{Fractions, Split, UnitBox, camels_names};
use crate::{Error, Result};

/// Square maps, and one row of parameters for each simulation.
///
/// Maps of one simulation follow each other, the same number for each: map i belongs to simulation
/// i / [`maps_per_simulation`](Self::maps_per_simulation), as in the CAMELS Multifield Dataset (arXiv 2109.10915), where
/// it is 15.
///
/// ```
/// use armilla::data::MapSet;
///
/// // Two simulations of three 2×2 maps.
/// let names = vec!["Omega_m".to_owned()];
/// let set = MapSet::new(vec![1.0; 24], 2, vec![0.3, 0.4], names)?;
/// assert_eq!((set.len(), set.maps_per_simulation(), set.simulation_of(4)), (6, 3, 1));
/// assert_eq!(set.theta(4), [0.4]);
/// # Ok::<(), armilla::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MapSet {
    maps: Vec<f32>,
    side: usize,
    params: Vec<f64>,
    names: Vec<String>,
    bounds: Option<UnitBox>,
    origin: Option<Origin>,
}

/// How simulated maps were made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The kind of simulator.
    pub simulator: String,
    /// The side of the box, in Mpc/h.
    pub box_size: f64,
    /// How much of the box is projected into a map, in Mpc/h, where it is projected.
    pub depth: Option<f64>,
}

/// Where the maps and their parameters are in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapPaths {
    /// The dataset of the maps, of shape (maps, N, N).
    pub maps: String,
    /// The dataset of the parameters, of shape (simulations, parameters).
    pub params: String,
}

impl Default for MapPaths {
    /// `maps` and `params`.
    fn default() -> Self {
        Self {
            maps: "maps".into(),
            params: "params".into(),
        }
    }
}

impl MapSet {
    /// The set of `maps` with `side`² pixels each, and of `params` with one column for each of `names`.
    ///
    /// # Errors
    ///
    /// Numbers that do not divide, no maps or parameters, and pixels or parameters that are not finite.
    pub fn new(maps: Vec<f32>, side: usize, params: Vec<f64>, names: Vec<String>) -> Result<Self> {
        let fail = |what: String| Err(Error::Invalid(what));
        // Nothing has that many pixels; the check below says so.
        let pixels = side.saturating_mul(side);
        if pixels == 0 || maps.is_empty() || !maps.len().is_multiple_of(pixels) {
            return fail(format!("{} pixels do not make maps of {side}×{side}", maps.len()));
        }
        if names.is_empty() || params.is_empty() || !params.len().is_multiple_of(names.len()) {
            return fail(format!(
                "{} values do not make rows of {} parameters",
                params.len(),
                names.len()
            ));
        }
        let (count, simulations) = (maps.len() / pixels, params.len() / names.len());
        if !count.is_multiple_of(simulations) {
            return fail(format!(
                "{count} maps cannot belong to {simulations} simulations: each needs the same number of maps"
            ));
        }
        if let Some(i) = maps.iter().position(|x| !x.is_finite()) {
            let (map, pixel) = (i / pixels, i % pixels);
            return fail(format!(
                "map {map} has {} at pixel ({}, {}): maps must be finite",
                maps[i],
                pixel / side,
                pixel % side
            ));
        }
        if let Some(i) = params.iter().position(|x| !x.is_finite()) {
            let (row, column) = (i / names.len(), i % names.len());
            return fail(format!(
                "simulation {row} has {} as its {}",
                params[i], names[column]
            ));
        }
        Ok(Self {
            maps,
            side,
            params,
            names,
            bounds: None,
            origin: None,
        })
    }

    /// The same set, saying how it was made.
    pub fn with_origin(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// The same set, saying from which box its parameters were drawn.
    ///
    /// # Errors
    ///
    /// Bounds for another number of parameters.
    pub fn with_bounds(mut self, bounds: UnitBox) -> Result<Self> {
        if bounds.dim() != self.names.len() {
            return Err(Error::Invalid(format!(
                "bounds of {} parameters do not fit {}",
                bounds.dim(),
                self.names.join(", ")
            )));
        }
        self.bounds = Some(bounds);
        Ok(self)
    }

    /// Read the set from an HDF5 file.
    ///
    /// The names are those in the attribute `names` of the parameters, else [`camels_names`]; the bounds those in its
    /// attributes `lower` and `upper`.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, shapes that do not fit each other, and pixels that are not finite.
    pub fn read(path: impl AsRef<Path>, paths: &MapPaths) -> Result<Self> {
        let path = path.as_ref();
        let file = Hdf5File::open(path)?;
        let (maps, side) = open_maps(&file, &paths.maps)?;
        let params = file.dataset(&paths.params)?;
        let columns = match *params.shape() {
            [_] => 1,
            [_, columns] => columns,
            _ => {
                return Err(params.error(format!(
                    "parameters need the shape (simulations, parameters), not {:?}",
                    params.shape()
                )));
            }
        };
        let names = match params.info().attributes.get("names").and_then(|a| a.to_texts()) {
            Some(names) if names.len() == columns => names,
            Some(names) => {
                return Err(params.error(format!("it has {columns} columns but {} names", names.len())));
            }
            None => camels_names(columns),
        };
        let origin = origin(&maps.info().attributes);
        let end = |name| params.info().attributes.get(name).and_then(|a| a.to_f64s());
        let bounds = end("lower").zip(end("upper"));
        let mut set =
            Self::new(maps.read()?, side, params.read()?, names).map_err(|e| Error::file(path, e))?;
        set.origin = origin;
        match bounds {
            Some((low, high)) => UnitBox::new(low, high)
                .and_then(|bounds| set.with_bounds(bounds))
                .map_err(|e| params.error(e)),
            None => Ok(set),
        }
    }

    /// Write the set as `maps` and `params` of an HDF5 file, all or nothing.
    ///
    /// # Errors
    ///
    /// A folder that does not exist, a full disk, and the like.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let MapPaths { maps, params } = MapPaths::default();
        let mut file = NewFile::new();
        file.dataset(
            &maps,
            &[self.len(), self.side, self.side],
            Values::F32(&self.maps),
        )?;
        file.dataset(
            &params,
            &[self.simulations(), self.names.len()],
            Values::F64(&self.params),
        )?;
        file.attribute(&params, "names", self.names.as_slice())?;
        if let Some(bounds) = &self.bounds {
            file.attribute(&params, "lower", bounds.low())?;
            file.attribute(&params, "upper", bounds.high())?;
        }
        if let Some(origin) = &self.origin {
            file.attribute(&maps, "simulator", origin.simulator.as_str())?;
            file.attribute(&maps, "box_size", origin.box_size)?;
            if let Some(depth) = origin.depth {
                file.attribute(&maps, "depth", depth)?;
            }
        }
        file.write(path)
    }

    /// The number of maps; never 0.
    #[allow(clippy::len_without_is_empty)] // a set is never empty
    pub fn len(&self) -> usize {
        self.maps.len() / (self.side * self.side)
    }

    /// The number of pixels along a side of a map.
    pub fn side(&self) -> usize {
        self.side
    }

    /// Map `i`, row by row.
    ///
    /// # Panics
    ///
    /// If there is no map `i`.
    pub fn map(&self, i: usize) -> &[f32] {
        let pixels = self.side * self.side;
        &self.maps[i * pixels..(i + 1) * pixels]
    }

    /// All pixels, map after map.
    pub fn maps(&self) -> &[f32] {
        &self.maps
    }

    /// The number of simulations.
    pub fn simulations(&self) -> usize {
        self.params.len() / self.names.len()
    }

    /// The number of maps of each simulation.
    pub fn maps_per_simulation(&self) -> usize {
        self.len() / self.simulations()
    }

    /// The simulation that map `i` comes from.
    pub fn simulation_of(&self, i: usize) -> usize {
        i / self.maps_per_simulation()
    }

    /// The parameters of the simulation that map `i` comes from.
    ///
    /// # Panics
    ///
    /// If there is no map `i`.
    pub fn theta(&self, i: usize) -> &[f64] {
        let (row, columns) = (self.simulation_of(i), self.names.len());
        &self.params[row * columns..(row + 1) * columns]
    }

    /// All parameters, simulation after simulation.
    pub fn params(&self) -> &[f64] {
        &self.params
    }

    /// The names of the parameters.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The box from which the parameters were drawn, where that is known.
    pub fn bounds(&self) -> Option<&UnitBox> {
        self.bounds.as_ref()
    }

    /// How the maps were made, where that is known.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// Divide the maps into parts, all maps of a simulation into the same one. The parts hold indices of maps.
    ///
    /// # Errors
    ///
    /// As [`Split::simulations`].
    pub fn split(&self, fractions: Fractions, seed: u64) -> Result<Split> {
        Ok(Split::simulations(self.simulations(), fractions, seed)?.of_maps(self.maps_per_simulation()))
    }
}

/// Read map `index` of the dataset `dataset`, and nothing else of it: the pixels and the side.
///
/// # Errors
///
/// A file that cannot be read, an index that is not there, and pixels that are not finite.
pub fn read_map(path: impl AsRef<Path>, dataset: &str, index: usize) -> Result<(Vec<f32>, usize)> {
    let file = Hdf5File::open(path)?;
    let (maps, side) = open_maps(&file, dataset)?;
    let end = index
        .checked_add(1)
        .ok_or_else(|| maps.error("the index is too large"))?;
    let map: Vec<f32> = maps.read_rows(index..end)?;
    match map.iter().position(|x| !x.is_finite()) {
        None => Ok((map, side)),
        Some(i) => Err(maps.error(format!(
            "map {index} has {} at pixel ({}, {}): maps must be finite",
            map[i],
            i / side,
            i % side
        ))),
    }
}

fn open_maps(file: &Hdf5File, dataset: &str) -> Result<(Hdf5Dataset, usize)> {
    let maps = file.dataset(dataset)?;
    match *maps.shape() {
        [_, rows, columns] if rows == columns && rows > 0 => Ok((maps, rows)),
        _ => Err(maps.error(format!(
            "maps need the shape (maps, N, N) with square maps, not {:?}",
            maps.shape()
        ))),
    }
}

fn origin(attributes: &Attributes) -> Option<Origin> {
    Some(Origin {
        simulator: attributes.get("simulator")?.as_text()?.to_owned(),
        box_size: attributes.get("box_size")?.as_f64()?,
        depth: attributes.get("depth").and_then(|depth| depth.as_f64()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> MapSet {
        let maps = (0..6 * 9).map(|i| i as f32).collect();
        MapSet::new(maps, 3, vec![0.3, 0.8, 0.2, 0.9], camels_names(2)).unwrap()
    }

    #[test]
    fn a_written_set_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.h5");
        let origin = Origin {
            simulator: "lognormal_field".into(),
            box_size: 25.0,
            depth: Some(5.0),
        };
        let bounds = UnitBox::new(vec![0.1, 0.6], vec![0.5, 1.0]).unwrap();
        let drawn = small().with_bounds(bounds.clone()).unwrap();
        for set in [small(), small().with_origin(origin), drawn] {
            set.write(&path).unwrap();
            assert_eq!(MapSet::read(&path, &MapPaths::default()).unwrap(), set);
            assert_eq!(read_map(&path, "maps", 4).unwrap(), (set.map(4).to_vec(), 3));
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        }
        let message = read_map(&path, "maps", 6).unwrap_err().to_string();
        assert!(
            message.contains("no row 6") && message.contains("it has 6"),
            "{message}"
        );
        assert!(read_map(&path, "maps", usize::MAX).is_err());
        assert!(read_map(&path, "params", 0).is_err());
    }

    #[test]
    fn bounds_must_fit_the_parameters() {
        let three = UnitBox::new(vec![0.0; 3], vec![1.0; 3]).unwrap();
        let message = small().with_bounds(three).unwrap_err().to_string();
        assert!(message.contains("3 parameters"), "{message}");
    }

    #[test]
    fn names_fall_back_to_those_of_camels() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bare.h5");
        for (columns, last) in [(6, "A_AGN2"), (2, "sigma_8"), (3, "theta_2")] {
            let params = vec![0.5; 2 * columns];
            let mut file = NewFile::new();
            file.dataset("group/Mcdm", &[4, 2, 2], Values::F32(&[1.0; 16]))
                .unwrap();
            file.dataset("group/p", &[2, columns], Values::F64(&params))
                .unwrap();
            file.write(&path).unwrap();
            let paths = MapPaths {
                maps: "group/Mcdm".into(),
                params: "group/p".into(),
            };
            let set = MapSet::read(&path, &paths).unwrap();
            assert_eq!(set.names().last().unwrap(), last);
            assert_eq!(set.simulation_of(3), 1);
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let one = || vec!["a".to_owned()];
        let cases = [
            (
                MapSet::new(vec![0.0; 20], 2, vec![0.0; 2], one()),
                "5 maps cannot belong to 2 simulations",
            ),
            (MapSet::new(vec![0.0; 5], 2, vec![0.0], one()), "5 pixels"),
            (MapSet::new(vec![], 2, vec![0.0], one()), "0 pixels"),
            (MapSet::new(vec![0.0; 4], 2, vec![], one()), "0 values"),
            (
                MapSet::new(vec![0.0; 4], 2, vec![f64::NAN], one()),
                "simulation 0 has NaN as its a",
            ),
        ];
        for (result, words) in cases {
            let message = result.unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
        for bad in [f32::NAN, f32::INFINITY] {
            let mut maps = vec![1.0; 3 * 16];
            maps[16 + 4 + 3] = bad;
            let message = MapSet::new(maps, 4, vec![1.0], one()).unwrap_err().to_string();
            assert!(
                message.contains("map 1") && message.contains("pixel (1, 3)"),
                "{message}"
            );
        }
    }

    #[test]
    fn splits_never_divide_a_simulation() {
        let set = MapSet::new(vec![1.0; 60], 1, vec![0.5; 12], vec!["a".into()]).unwrap();
        let split = set.split(Fractions::default(), 3).unwrap();
        let of = |part: &[usize]| -> std::collections::BTreeSet<usize> {
            part.iter().map(|&i| set.simulation_of(i)).collect()
        };
        let (train, validation, test) = (of(&split.train), of(&split.validation), of(&split.test));
        assert_eq!(train.len() + validation.len() + test.len(), 12);
    }
}
