//! Hold maps and the parameters of the simulations they come from.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::field_file::{FieldFile, MapPaths, not_finite};
use super::hdf5::{NewFile, Values};
use super::parameters::logarithmic;
use super::{Fractions, Split, UnitBox};
use crate::{Error, Result};

/// Square maps, and one row of parameters for each simulation.
///
/// Maps of one simulation follow each other, the same number for each: map i belongs to simulation
/// i / [`maps_per_simulation`](Self::maps_per_simulation), as in the CAMELS Multifield Dataset (arXiv 2109.10915), where
/// it is 15. They are in memory, or in [files](Self::open) from which each is read when it is asked for, by any number of
/// threads.
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
#[derive(Debug, Clone)]
pub struct MapSet {
    pub(super) maps: Maps,
    pub(super) count: usize,
    pub(super) side: usize,
    pub(super) params: Vec<f64>,
    pub(super) names: Vec<String>,
    pub(super) bounds: Option<UnitBox>,
    pub(super) logarithmic: Vec<bool>,
    pub(super) origin: Option<Origin>,
    pub(super) unit: Option<String>,
    pub(super) files: Vec<SetFile>,
}

/// Where the maps are.
#[derive(Debug, Clone)]
pub(super) enum Maps {
    Memory(Arc<Vec<f32>>),
    /// Each with the number of its first map.
    Files(Arc<Vec<(usize, FieldFile)>>),
}

/// One of the files of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetFile {
    /// Its name.
    pub name: String,
    /// How many simulations it holds.
    pub simulations: usize,
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
        for (i, map) in maps.chunks_exact(pixels).enumerate() {
            if let Some(what) = not_finite(map, &[side, side]) {
                return fail(format!("map {i} has {what}"));
            }
        }
        check_params(&params, &names)?;
        Ok(Self {
            maps: Maps::Memory(Arc::new(maps)),
            count,
            side,
            params,
            logarithmic: vec![false; names.len()],
            names,
            bounds: None,
            origin: None,
            unit: None,
            files: Vec::new(),
        })
    }

    /// The same set, saying how it was made.
    pub fn with_origin(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// The same set, saying what the unit of its pixels is; empty for a ratio.
    pub fn with_unit(mut self, unit: &str) -> Self {
        self.unit = Some(unit.to_owned());
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
        self.logarithmic = logarithmic(&self.names, &bounds);
        self.bounds = Some(bounds);
        Ok(self)
    }

    /// Read the set of one file into memory, as [`open`](Self::open) finds it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and pixels that are not finite.
    pub fn read(path: impl AsRef<Path>, paths: &MapPaths) -> Result<Self> {
        Self::open(&[path], paths)?.loaded()
    }

    /// The same set with its maps in memory.
    ///
    /// # Errors
    ///
    /// A file that cannot be read any more, and pixels that are not finite.
    pub fn loaded(&self) -> Result<Self> {
        let maps = match &self.maps {
            Maps::Memory(maps) => maps.clone(),
            Maps::Files(_) => {
                let all: Vec<usize> = (0..self.count).collect();
                Arc::new(self.read_maps(&all)?)
            }
        };
        Ok(Self {
            maps: Maps::Memory(maps),
            ..self.clone()
        })
    }

    /// Write the set as `maps` and `params` of an HDF5 file, all or nothing.
    ///
    /// # Errors
    ///
    /// A folder that does not exist, a full disk, and the like.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let (maps, params) = ("maps", "params");
        let mut file = NewFile::new();
        let all: Vec<usize> = (0..self.count).collect();
        let pixels = match &self.maps {
            Maps::Memory(pixels) => Cow::Borrowed(&pixels[..]),
            Maps::Files(_) => Cow::Owned(self.read_maps(&all)?),
        };
        file.dataset(maps, &[self.len(), self.side, self.side], Values::F32(&pixels))?;
        file.dataset(
            params,
            &[self.simulations(), self.names.len()],
            Values::F64(&self.params),
        )?;
        file.attribute(params, "names", self.names.as_slice())?;
        if let Some(bounds) = &self.bounds {
            file.attribute(params, "lower", bounds.low())?;
            file.attribute(params, "upper", bounds.high())?;
        }
        if let Some(origin) = &self.origin {
            file.attribute(maps, "simulator", origin.simulator.as_str())?;
            file.attribute(maps, "box_size", origin.box_size)?;
            if let Some(depth) = origin.depth {
                file.attribute(maps, "depth", depth)?;
            }
        }
        if let Some(unit) = &self.unit {
            file.attribute(maps, "unit", unit.as_str())?;
        }
        file.write(path)
    }

    /// The number of maps; never 0.
    #[allow(clippy::len_without_is_empty)] // a set is never empty
    pub fn len(&self) -> usize {
        self.count
    }

    /// The number of pixels along a side of a map.
    pub fn side(&self) -> usize {
        self.side
    }

    /// Map `i`, row by row.
    ///
    /// # Errors
    ///
    /// A file that cannot be read any more, or a pixel that is not finite.
    ///
    /// # Panics
    ///
    /// If there is no map `i`.
    pub fn map(&self, i: usize) -> Result<Cow<'_, [f32]>> {
        let pixels = self.side * self.side;
        match &self.maps {
            Maps::Memory(maps) => Ok(Cow::Borrowed(&maps[i * pixels..(i + 1) * pixels])),
            Maps::Files(_) => Ok(Cow::Owned(self.read_maps(&[i])?)),
        }
    }

    /// The maps `picks`, one after the other; from files, several are read at a time.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map).
    ///
    /// # Panics
    ///
    /// If one of them is not there.
    pub fn read_maps(&self, picks: &[usize]) -> Result<Vec<f32>> {
        let pixels = self.side * self.side;
        let mut out = vec![0.0; picks.len() * pixels];
        match &self.maps {
            Maps::Memory(maps) => {
                for (out, &i) in out.chunks_exact_mut(pixels).zip(picks) {
                    out.copy_from_slice(&maps[i * pixels..(i + 1) * pixels]);
                }
            }
            Maps::Files(files) => {
                // Neighbours in a file share its chunks, and are read at once.
                let mut parts: Vec<(&[usize], &mut [f32])> = Vec::new();
                let mut rest = &mut out[..];
                for run in picks.chunk_by(|&a, &b| b == a + 1 && files.iter().all(|f| f.0 != b)) {
                    let (part, behind) = rest.split_at_mut(run.len() * pixels);
                    parts.push((run, part));
                    rest = behind;
                }
                parts.into_par_iter().try_for_each(|(run, out)| {
                    let (before, file) = &files[files.partition_point(|f| f.0 <= run[0]) - 1];
                    file.read_into(run[0] - before..run[0] - before + run.len(), out)
                })?;
            }
        }
        Ok(out)
    }

    /// Whether the maps are in memory.
    pub fn is_in_memory(&self) -> bool {
        matches!(self.maps, Maps::Memory(_))
    }

    /// The files that the set is in, in their order; none where it was made in memory.
    pub fn files(&self) -> &[SetFile] {
        &self.files
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

    /// Which of the parameters were drawn evenly in the logarithm, where the box is known.
    pub fn logarithmic(&self) -> &[bool] {
        &self.logarithmic
    }

    /// The unit of the pixels, where that is known; empty for a ratio.
    pub fn unit(&self) -> Option<&str> {
        self.unit.as_deref()
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

pub(super) fn check_params(params: &[f64], names: &[String]) -> Result<()> {
    match params.iter().position(|x| !x.is_finite()) {
        None => Ok(()),
        Some(i) => {
            let (row, column) = (i / names.len(), i % names.len());
            Err(Error::Invalid(format!(
                "simulation {row} has {} as its {}",
                params[i], names[column]
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::camels_names;
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
            for back in [
                MapSet::read(&path, &MapPaths::default()).unwrap(),
                MapSet::open(&[&path], &MapPaths::default()).unwrap(),
            ] {
                let all: Vec<usize> = (0..6).collect();
                assert_eq!(back.read_maps(&all).unwrap(), set.read_maps(&all).unwrap());
                assert_eq!(
                    back.read_maps(&[4, 1, 2]).unwrap(),
                    set.read_maps(&[4, 1, 2]).unwrap()
                );
                assert_eq!(back.map(4).unwrap(), set.map(4).unwrap());
                assert_eq!(
                    (back.side(), back.params(), back.names()),
                    (3, set.params(), set.names())
                );
                assert_eq!((back.bounds(), back.origin()), (set.bounds(), set.origin()));
                let file = SetFile {
                    name: "set.h5".into(),
                    simulations: 2,
                };
                assert_eq!(back.files(), [file]);
            }
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        }
        let file = FieldFile::open(&path, &MapPaths::default()).unwrap();
        assert_eq!(file.read(4).unwrap(), small().map(4).unwrap().as_ref());
        for index in [6, usize::MAX] {
            let message = file.read(index).unwrap_err().to_string();
            assert!(
                message.contains("no map 6") && message.contains("it has 6") || index != 6,
                "{message}"
            );
        }
        let wrong = MapPaths {
            maps: Some("params".into()),
            params: None,
        };
        assert!(
            FieldFile::open(&path, &wrong)
                .unwrap_err()
                .to_string()
                .contains("(maps, N, N)")
        );
    }

    #[test]
    fn several_files_are_one_set() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, offset: f32, params: Vec<f64>, side: usize| {
            let maps = (0..params.len() / 2 * 3 * side * side)
                .map(|i| i as f32 + offset)
                .collect();
            let path = folder.path().join(name);
            MapSet::new(maps, side, params, camels_names(2))
                .unwrap()
                .write(&path)
                .unwrap();
            path
        };
        let a = write("a.h5", 0.0, vec![0.1, 0.8, 0.2, 0.9], 4);
        let b = write("b.h5", 1000.0, vec![0.3, 0.7], 4);
        let set = MapSet::open(&[&a, &b], &MapPaths::default()).unwrap();
        assert_eq!(
            (set.len(), set.simulations(), set.maps_per_simulation()),
            (9, 3, 3)
        );
        assert_eq!((set.theta(6), set.theta(5)), (&[0.3, 0.7][..], &[0.2, 0.9][..]));
        // Runs that end at the border of the files, and single maps.
        let picks = [4, 5, 6, 7, 0, 8];
        let maps = set.read_maps(&picks).unwrap();
        for (map, i) in maps.chunks_exact(16).zip(picks) {
            let expected = if i < 6 {
                i as f32 * 16.0
            } else {
                1000.0 + (i - 6) as f32 * 16.0
            };
            assert_eq!(map[0], expected);
            assert_eq!(set.map(i).unwrap(), map);
        }
        let message = |files: &[&std::path::PathBuf]| {
            MapSet::open(files, &MapPaths::default()).unwrap_err().to_string()
        };
        let again = write("c.h5", 0.0, vec![0.4, 0.7, 0.3, 0.7], 4);
        let shared = message(&[&a, &b, &again]);
        assert!(
            shared.contains("shares simulations") && shared.contains("b.h5"),
            "{shared}"
        );
        let larger = write("d.h5", 0.0, vec![0.4, 0.7], 5);
        assert!(message(&[&a, &larger]).contains("5×5"));
        assert!(message(&[]).contains("at least one file"));
    }

    #[test]
    fn maps_and_parameters_are_found_by_their_shape() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("any.h5");
        let mut file = NewFile::new();
        file.dataset("z=0/T", &[4, 2, 2], Values::F32(&[1.0; 16]))
            .unwrap();
        file.dataset("z=0/labels", &[2, 2], Values::F64(&[0.1, 0.2, 0.3, 0.4]))
            .unwrap();
        file.dataset("k", &[3], Values::F64(&[0.0; 3])).unwrap();
        file.write(&path).unwrap();
        let set = MapSet::open(&[&path], &MapPaths::default()).unwrap();
        assert_eq!((set.len(), set.simulations()), (4, 2));
        file.dataset("z=0/P", &[4, 2, 2], Values::F32(&[1.0; 16]))
            .unwrap();
        file.write(&path).unwrap();
        let message = MapSet::open(&[&path], &MapPaths::default())
            .unwrap_err()
            .to_string();
        for words in ["z=0/P (4, 2, 2) f32, z=0/T (4, 2, 2) f32", "--maps"] {
            assert!(message.contains(words), "{message}");
        }
        let mut none = NewFile::new();
        none.dataset("k", &[3], Values::F64(&[0.0; 3])).unwrap();
        none.write(&path).unwrap();
        let message = MapSet::open(&[&path], &MapPaths::default())
            .unwrap_err()
            .to_string();
        assert!(message.contains("it holds k (3) f64"), "{message}");
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
                maps: Some("group/Mcdm".into()),
                params: Some("group/p".into()),
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
