//! Read maps or grids of one file, whatever its format, one by one.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::Origin;
use super::camels::{CamelsName, Shape};
use super::discover::find_maps;
use super::hdf5::{Attributes, Hdf5Dataset, Hdf5File};
use super::npy::NpyFile;
use super::numbers::Number;
use crate::{Error, Result};

/// The box of the simulations in the CAMELS Multifield Dataset and the depth of its maps, in Mpc/h.
const CAMELS_BOX: f64 = 25.0;
const CAMELS_DEPTH: f64 = 5.0;

/// Where the maps and their parameters are; what is not said is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MapPaths {
    /// The dataset of the maps in an HDF5 file, of shape (maps, N, N).
    pub maps: Option<String>,
    /// The dataset of the parameters in it, of shape (simulations, parameters), or a file: a table of text, or `.npy`.
    pub params: Option<String>,
}

/// Maps or grids of one file, read when they are asked for, from any number of threads.
///
/// ```no_run
/// use armilla::data::{FieldFile, MapPaths};
///
/// let file = FieldFile::open("Maps_Mcdm_IllustrisTNG_LH_z=0.00.npy", &MapPaths::default())?;
/// assert_eq!((file.len(), file.shape()), (15_000, &[256, 256][..]));
/// assert_eq!(file.unit(), Some("(Msun/h)/(Mpc/h)^2"));
/// let map = file.read(15)?; // the first map of the second simulation
/// # Ok::<(), armilla::Error>(())
/// ```
#[derive(Debug)]
pub struct FieldFile {
    pub(super) path: PathBuf,
    pub(super) store: Store,
    pub(super) count: usize,
    shape: Vec<usize>,
    /// Whether the whole array is the only map, (N, N).
    alone: bool,
    pub(super) name: Option<CamelsName>,
    unit: Option<String>,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // one for each file
pub(super) enum Store {
    Hdf5 { file: Hdf5File, maps: Hdf5Dataset },
    Npy(NpyFile),
}

impl FieldFile {
    /// Open the file at `path`: `.npy`, or HDF5.
    ///
    /// In an HDF5 file without a dataset `maps` or `grids`, the only one whose shape is that of maps or grids is taken.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, and maps that are not there or not certain: the message lists what could be meant.
    pub fn open(path: impl AsRef<Path>, paths: &MapPaths) -> Result<Self> {
        let file = Self::open_or_one(path, paths)?;
        if file.alone {
            return Err(file.no_fields(&file.shape));
        }
        Ok(file)
    }

    /// [`open`](Self::open), but an array (N, N) is a file of one map.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub(crate) fn open_or_one(path: impl AsRef<Path>, paths: &MapPaths) -> Result<Self> {
        let path = path.as_ref();
        let (store, whole, attribute) = if is_npy(path) {
            let file = NpyFile::open(path)?;
            let shape = file.shape().to_vec();
            (Store::Npy(file), shape, None)
        } else {
            let file = Hdf5File::open(path)?;
            let maps = match &paths.maps {
                Some(name) => file.dataset(name)?,
                None => file.dataset(&find_maps(&file)?)?,
            };
            maps.check_size()?;
            let attributes = &maps.info().attributes;
            let unit = attributes.get("unit").or_else(|| attributes.get("units"));
            let unit = unit.and_then(|u| u.as_text()).map(str::to_owned);
            let shape = maps.shape().to_vec();
            (Store::Hdf5 { file, maps }, shape, unit)
        };
        let alone = whole.len() == 2;
        let (count, shape) = match whole[..] {
            [count, ref shape @ ..] if !alone => (count, shape.to_vec()),
            _ => (1, whole.clone()),
        };
        let name = CamelsName::parse(path);
        let unit = attribute.or_else(|| Some(name.as_ref()?.unit()?.to_owned()));
        let file = Self {
            path: path.to_owned(),
            store,
            count,
            shape,
            alone,
            name,
            unit,
        };
        let equal = file.shape.iter().all(|&n| n == file.shape[0] && n > 0);
        if matches!(file.shape.len(), 2 | 3) && equal {
            Ok(file)
        } else {
            Err(file.no_fields(&whole))
        }
    }

    fn no_fields(&self, whole: &[usize]) -> Error {
        let what = format!(
            "maps need the shape (maps, N, N) and grids (grids, N, N, N), with N not 0, not {whole:?}"
        );
        match &self.store {
            Store::Hdf5 { maps, .. } => maps.error(what),
            Store::Npy(file) => file.error(what),
        }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the dataset; empty where the file is an array.
    pub fn dataset(&self) -> &str {
        match &self.store {
            Store::Hdf5 { maps, .. } => &maps.info().path,
            Store::Npy(_) => "",
        }
    }

    /// The type of the numbers, in short: `f32`, `f64 (big-endian)`.
    pub fn dtype(&self) -> String {
        match &self.store {
            Store::Hdf5 { maps, .. } => maps.info().dtype.clone(),
            Store::Npy(file) => file.dtype(),
        }
    }

    /// The number of maps or grids.
    #[allow(clippy::len_without_is_empty)] // nobody asks
    pub fn len(&self) -> usize {
        self.count
    }

    /// The cells along each axis of one of them: two axes for a map, three for a grid.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// What the name of the file says, if it is one of the CAMELS Multifield Dataset.
    pub fn camels(&self) -> Option<&CamelsName> {
        self.name.as_ref()
    }

    /// The unit of the numbers, as the dataset's attribute `unit` or the name of the file has it; empty for a ratio.
    pub fn unit(&self) -> Option<&str> {
        self.unit.as_deref()
    }

    /// How the maps were made, as attributes or the name of the file have it.
    pub fn origin(&self) -> Option<Origin> {
        let written = match &self.store {
            Store::Hdf5 { maps, .. } => origin(&maps.info().attributes),
            Store::Npy(_) => None,
        };
        written.or_else(|| {
            let name = self.name.as_ref()?;
            Some(Origin {
                simulator: name.suite.clone(),
                box_size: CAMELS_BOX,
                depth: (name.shape == Shape::Maps).then_some(CAMELS_DEPTH),
            })
        })
    }

    /// The side of the box in Mpc/h, as the dataset's attribute `box_size` or the name of the file has it.
    pub fn box_size(&self) -> Option<f64> {
        let written = match &self.store {
            Store::Hdf5 { maps, .. } => maps.info().attributes.get("box_size"),
            Store::Npy(_) => None,
        };
        match written {
            Some(written) => written.as_f64(),
            None => self.name.as_ref().map(|_| CAMELS_BOX),
        }
    }

    /// Map or grid `index`, row by row.
    ///
    /// # Errors
    ///
    /// One that is not there, or has a cell that is not finite, and a file that cannot be read any more.
    pub fn read(&self, index: usize) -> Result<Vec<f32>> {
        let end = index
            .checked_add(1)
            .ok_or_else(|| self.error("the index is too large"))?;
        if index >= self.count {
            return Err(self.error(format!(
                "there is no map {index}: it has {}, numbered from 0",
                self.count
            )));
        }
        let map = self.read_range(index..end)?;
        self.check_finite(index, &map)?;
        Ok(map)
    }

    /// Maps or grids `range`, one after the other, finite or not.
    ///
    /// # Errors
    ///
    /// Some that are not there, and a file that cannot be read any more.
    pub(crate) fn read_range<T: Number>(&self, range: Range<usize>) -> Result<Vec<T>> {
        let rows = self.rows(range);
        match &self.store {
            Store::Hdf5 { maps, .. } => maps.read_rows(rows),
            Store::Npy(file) => file.read_rows(rows),
        }
    }

    /// The rows of the array that hold maps or grids `range`.
    fn rows(&self, range: Range<usize>) -> Range<usize> {
        if self.alone {
            range.start * self.shape[0]..range.end * self.shape[0]
        } else {
            range
        }
    }

    /// Maps `range`, which must be there, into `out`, which must be as long as they are.
    pub(super) fn read_into(&self, range: Range<usize>, out: &mut [f32]) -> Result<()> {
        match &self.store {
            Store::Hdf5 { maps, .. } => maps.read_into(self.rows(range.clone()), out)?,
            Store::Npy(file) => file.read_into(self.rows(range.clone()), out)?,
        }
        let cells: usize = self.shape.iter().product();
        range
            .zip(out.chunks_exact(cells))
            .try_for_each(|(index, map)| self.check_finite(index, map))
    }

    fn check_finite(&self, index: usize, map: &[f32]) -> Result<()> {
        match not_finite(map, &self.shape) {
            None => Ok(()),
            Some(what) => Err(self.error(format!("map {index} has {what}"))),
        }
    }

    pub(super) fn error(&self, what: impl ToString) -> Error {
        Error::file(&self.path, what)
    }
}

/// Whether the name of a file is that of a NumPy array.
pub(super) fn is_npy(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy"))
}

/// What is wrong with the first cell that is not finite.
pub(super) fn not_finite(map: &[f32], shape: &[usize]) -> Option<String> {
    let i = map.iter().position(|x| !x.is_finite())?;
    let mut rest = i;
    let mut place: Vec<String> = Vec::new();
    for &n in shape.iter().rev() {
        place.push((rest % n).to_string());
        rest /= n;
    }
    place.reverse();
    let what = if shape.len() == 2 { "pixel" } else { "cell" };
    Some(format!(
        "{} at {what} ({}): maps must be finite",
        map[i],
        place.join(", ")
    ))
}

fn origin(attributes: &Attributes) -> Option<Origin> {
    Some(Origin {
        simulator: attributes.get("simulator")?.as_text()?.to_owned(),
        box_size: attributes.get("box_size")?.as_f64()?,
        depth: attributes.get("depth").and_then(|depth| depth.as_f64()),
    })
}
