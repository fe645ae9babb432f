//! Read maps or grids of one file, whatever its format, one by one.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::camels::{CamelsName, ParameterInfo, ParameterTable, Shape, camels_range, read_info};
use super::hdf5::{Attributes, DatasetInfo, Hdf5Dataset, Hdf5File};
use super::npy::NpyFile;
use super::{Origin, UnitBox, camels_names};
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
    path: PathBuf,
    store: Store,
    count: usize,
    shape: Vec<usize>,
    name: Option<CamelsName>,
    unit: Option<String>,
}

#[derive(Debug)]
enum Store {
    Hdf5 { file: Hdf5File, maps: Hdf5Dataset },
    Npy(NpyFile),
}

/// The parameters of the simulations behind a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameters {
    pub(crate) names: Vec<String>,
    pub(crate) values: Vec<f64>,
    /// The box that they were drawn from, and which of them evenly in the logarithm.
    pub(super) bounds: Option<(UnitBox, Vec<bool>)>,
    /// Where they were found, for messages.
    pub(crate) place: String,
}

impl FieldFile {
    /// Open the file at `path`: `.npy`, or HDF5.
    ///
    /// In an HDF5 file without a dataset `maps`, the only one whose shape is that of maps or grids is taken.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, and maps that are not there or not certain: the message lists what could be meant.
    pub fn open(path: impl AsRef<Path>, paths: &MapPaths) -> Result<Self> {
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
            let attributes = &maps.info().attributes;
            let unit = attributes.get("unit").or_else(|| attributes.get("units"));
            let unit = unit.and_then(|u| u.as_text()).map(str::to_owned);
            let shape = maps.shape().to_vec();
            (Store::Hdf5 { file, maps }, shape, unit)
        };
        let equal = whole.iter().skip(1).all(|&n| n == whole[1] && n > 0);
        if !matches!(whole.len(), 3 | 4) || !equal {
            let what =
                format!("maps need the shape (maps, N, N) and grids (grids, N, N, N), with N not 0, not {whole:?}");
            return Err(match &store {
                Store::Hdf5 { maps, .. } => maps.error(what),
                Store::Npy(file) => file.error(what),
            });
        }
        let name = CamelsName::parse(path);
        let unit = attribute.or_else(|| Some(name.as_ref()?.unit()?.to_owned()));
        Ok(Self {
            path: path.to_owned(),
            store,
            count: whole[0],
            shape: whole[1..].to_vec(),
            name,
            unit,
        })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
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
        match &self.store {
            Store::Hdf5 { maps, .. } => {
                let map = maps.read_rows(index..end)?;
                self.check_finite(index, &map)?;
                Ok(map)
            }
            Store::Npy(file) => {
                let map = file.read_rows(index..end)?;
                self.check_finite(index, &map)?;
                Ok(map)
            }
        }
    }

    /// Maps `range`, which must be there, into `out`, which must be as long as they are.
    pub(super) fn read_into(&self, range: Range<usize>, out: &mut [f32]) -> Result<()> {
        match &self.store {
            Store::Hdf5 { maps, .. } => maps.read_into(range.clone(), out)?,
            Store::Npy(file) => file.read_into(range.clone(), out)?,
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

    /// The parameters of the simulations; nothing where none are named or found.
    ///
    /// # Errors
    ///
    /// Parameters that are named and not there, cannot be read or are not certain, and a number of simulations that does
    /// not fit that of the maps: the message gives both.
    pub(crate) fn parameters(&self, paths: &MapPaths) -> Result<Option<Parameters>> {
        let parameters = match (&self.store, &paths.params) {
            (Store::Hdf5 { file, .. }, Some(name)) => match dataset_or_table(file, name)? {
                Some(table) => self.of_table(&table)?,
                None => of_dataset(file, name)?,
            },
            (Store::Npy(_), Some(table)) => self.of_table(Path::new(table))?,
            (Store::Hdf5 { file, maps }, None) => match find_parameters(file, maps, self.count)? {
                Some(name) => of_dataset(file, &name)?,
                None => match self.table_beside() {
                    Some(table) => self.of_table(&table)?,
                    None => return Ok(None),
                },
            },
            (Store::Npy(_), None) => match self.table_beside() {
                Some(table) => self.of_table(&table)?,
                None => return Ok(None),
            },
        };
        self.check_rows(&parameters)?;
        Ok(Some(parameters))
    }

    /// The words for parameters that were looked for in vain.
    pub(super) fn no_parameters(&self) -> Error {
        let looked = match &self.name {
            Some(name) => format!(
                "none of {} is beside it",
                name.table_names()[..3].to_vec().join(", ")
            ),
            None => "nothing in the file or its name tells where they are".into(),
        };
        self.error(format!(
            "the parameters of its simulations are missing: {looked}; name them with --params"
        ))
    }

    /// How many of the fields come from one of `simulations` simulations.
    pub(crate) fn per_simulation(&self, simulations: usize) -> usize {
        self.count / simulations
    }

    fn check_rows(&self, parameters: &Parameters) -> Result<()> {
        let simulations = parameters.values.len() / parameters.names.len().max(1);
        let (count, place) = (self.count, &parameters.place);
        match &self.name {
            Some(name) if count != simulations.saturating_mul(name.fields_per_simulation()) => {
                let (per, what) = match name.shape {
                    Shape::Maps => (15, "maps"),
                    Shape::Grids => (1, "grids"),
                };
                Err(self.error(format!(
                    "its {count} {what}, {per} of each simulation, do not fit the {simulations} rows of {place}"
                )))
            }
            None if simulations == 0 || !count.is_multiple_of(simulations) => Err(self.error(format!(
                "{count} maps cannot belong to {simulations} simulations, the rows of {place}: each needs the same number \
                 of maps"
            ))),
            _ => Ok(()),
        }
    }

    fn table_beside(&self) -> Option<PathBuf> {
        let names = self.name.as_ref()?.table_names();
        names
            .iter()
            .map(|name| self.path.with_file_name(name))
            .find(|table| table.is_file())
    }

    fn of_table(&self, path: &Path) -> Result<Parameters> {
        let place = path.display().to_string();
        if is_npy(path) {
            let file = NpyFile::open(path)?;
            let &[_, columns @ 1..=usize::MAX] = file.shape() else {
                return Err(file.error(format!(
                    "parameters need the shape (simulations, parameters), not {:?}",
                    file.shape()
                )));
            };
            return Ok(Parameters {
                names: camels_names(columns),
                values: file.read_rows(0..file.rows())?,
                bounds: None,
                place,
            });
        }
        let mut table = ParameterTable::read(path)?;
        if let Some(count) = self.name.as_ref().and_then(CamelsName::parameters_that_matter) {
            table = table.first(count);
        }
        let bounds = ranges_beside(path, table.names());
        Ok(Parameters {
            names: table.names().to_vec(),
            values: table.values().to_vec(),
            bounds,
            place,
        })
    }

    fn error(&self, what: impl ToString) -> Error {
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
    let what = if shape.len() == 2 {
        "pixel"
    } else {
        "cell"
    };
    Some(format!(
        "{} at {what} ({}): maps must be finite",
        map[i],
        place.join(", ")
    ))
}

/// Whether `name`, which should be a dataset of `file`, is a table beside it instead.
fn dataset_or_table(file: &Hdf5File, name: &str) -> Result<Option<PathBuf>> {
    let inside = name.trim_matches('/');
    if file.datasets()?.iter().any(|d| d.path == inside) {
        return Ok(None);
    }
    Ok(Some(PathBuf::from(name)).filter(|path| path.is_file()))
}

fn of_dataset(file: &Hdf5File, name: &str) -> Result<Parameters> {
    let params = file.dataset(name)?;
    let columns = match *params.shape() {
        [_] => 1,
        [_, columns] if columns > 0 => columns,
        _ => {
            return Err(params.error(format!(
                "parameters need the shape (simulations, parameters), not {:?}",
                params.shape()
            )));
        }
    };
    let attributes = &params.info().attributes;
    let names = match attributes.get("names").and_then(|a| a.to_texts()) {
        Some(names) if names.len() == columns => names,
        Some(names) => {
            return Err(params.error(format!("it has {columns} columns but {} names", names.len())));
        }
        None => camels_names(columns),
    };
    let end = |name| attributes.get(name).and_then(|a| a.to_f64s());
    let bounds = match end("lower").zip(end("upper")) {
        Some((low, high)) if low.len() == columns => {
            let bounds = UnitBox::new(low, high).map_err(|e| params.error(e))?;
            let logarithmic = logarithmic(&names, &bounds);
            Some((bounds, logarithmic))
        }
        Some((low, _)) => {
            return Err(params.error(format!("it has {columns} columns but {} lower bounds", low.len())));
        }
        None => None,
    };
    Ok(Parameters {
        names,
        values: params.read()?,
        bounds,
        place: format!("dataset `{}`", params.info().path),
    })
}

/// The ranges in the `Info_*` file of CAMELS beside a table, if there is one for all of `names`.
fn ranges_beside(table: &Path, names: &[String]) -> Option<(UnitBox, Vec<bool>)> {
    let folder = match table.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("Info_") && name.ends_with(".txt")
        })
        .collect();
    // A folder lists its files in any order.
    files.sort();
    files.iter().find_map(|file| {
        let info = read_info(file).ok()?;
        let of = |name: &String| info.iter().find(|p| p.name == *name);
        let known: Option<Vec<_>> = names.iter().map(of).collect();
        let known = known?;
        let end = |of: fn(&&ParameterInfo) -> f64| known.iter().map(of).collect();
        let bounds = UnitBox::new(end(|p| p.low), end(|p| p.high)).ok()?;
        Some((bounds, known.iter().map(|p| p.logarithmic).collect()))
    })
}

/// Which of the parameters `names` between `bounds` are those of CAMELS that were sampled evenly in the logarithm.
pub(super) fn logarithmic(names: &[String], bounds: &UnitBox) -> Vec<bool> {
    let of = |(name, low): (&String, &f64)| *low > 0.0 && camels_range(name).is_some_and(|(_, log)| log);
    names.iter().zip(bounds.low()).map(of).collect()
}

fn is_float(dataset: &DatasetInfo) -> bool {
    dataset.dtype.starts_with('f')
}

/// The dataset of the maps of a file that does not say which.
fn find_maps(file: &Hdf5File) -> Result<String> {
    let datasets = file.datasets()?;
    if datasets.iter().any(|d| d.path == "maps") {
        return Ok("maps".into());
    }
    let fields = datasets.iter().filter(|d| {
        let inner = d.shape.get(1..).unwrap_or_default();
        is_float(d) && matches!(inner.len(), 2 | 3) && inner.iter().all(|&n| n == inner[0] && n > 1)
    });
    only(file, "maps", fields)?.ok_or_else(|| {
        Error::file(
            file.path(),
            format!(
                "no dataset has the shape of maps (maps, N, N) or grids (grids, N, N, N); it holds {}",
                list(datasets.iter())
            ),
        )
    })
}

/// The dataset of the parameters of `count` maps in a file that does not say which; nothing if there is none.
fn find_parameters(file: &Hdf5File, maps: &Hdf5Dataset, count: usize) -> Result<Option<String>> {
    let datasets = file.datasets()?;
    if datasets.iter().any(|d| d.path == "params") {
        return Ok(Some("params".into()));
    }
    // Where the maps are there may be several sets, each with its own.
    let fits = |d: &&DatasetInfo| {
        let rows = d.shape.first().copied().unwrap_or(0);
        is_float(d) && d.shape.len() == 2 && d.path != maps.info().path && rows > 0 && count as u64 % rows == 0
    };
    only(file, "params", datasets.iter().filter(fits))
}

/// The path of the only one of `candidates`.
fn only<'a>(
    file: &Hdf5File,
    option: &str,
    candidates: impl Iterator<Item = &'a DatasetInfo>,
) -> Result<Option<String>> {
    let candidates: Vec<&DatasetInfo> = candidates.collect();
    match candidates[..] {
        [] => Ok(None),
        [one] => Ok(Some(one.path.clone())),
        _ => Err(Error::file(
            file.path(),
            format!(
                "several datasets could be the {option}: {}; name one with --{option}",
                list(candidates.iter().copied())
            ),
        )),
    }
}

fn list<'a>(datasets: impl Iterator<Item = &'a DatasetInfo>) -> String {
    const SHOWN: usize = 10;
    let all: Vec<String> = datasets.map(DatasetInfo::to_string).collect();
    match all.len() {
        0 => "nothing".into(),
        n if n > SHOWN => format!("{} and {} more", all[..SHOWN].join(", "), n - SHOWN),
        _ => all.join(", "),
    }
}

fn origin(attributes: &Attributes) -> Option<Origin> {
    Some(Origin {
        simulator: attributes.get("simulator")?.as_text()?.to_owned(),
        box_size: attributes.get("box_size")?.as_f64()?,
        depth: attributes.get("depth").and_then(|depth| depth.as_f64()),
    })
}
