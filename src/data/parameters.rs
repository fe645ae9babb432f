//! Find and read the parameters of the simulations behind a file of maps.

use std::path::{Path, PathBuf};

use super::camels::{CamelsName, ParameterInfo, ParameterTable, Shape, camels_range, read_info, text_files};
use super::discover::find_parameters;
use super::field_file::{FieldFile, MapPaths, Store, is_npy};
use super::hdf5::Hdf5File;
use super::npy::NpyFile;
use super::{UnitBox, camels_names};
use crate::{Error, Result};

/// More than any simulation has. A damaged file may claim any shape, and names and rows are made of it.
const MOST_PARAMETERS: usize = 10_000;
/// See [`MOST_PARAMETERS`].
const MOST_VALUES: usize = 1 << 24;

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

impl Parameters {
    /// Keeps one row of each simulation where every row is repeated for each of its maps: else maps of one simulation
    /// would come into several parts of a set.
    fn once_each(mut self) -> Self {
        let width = self.names.len().max(1);
        let rows: Vec<&[f64]> = self.values.chunks_exact(width).collect();
        let run = rows.iter().take_while(|row| **row == rows[0]).count();
        let alike = |rows: &[&[f64]]| rows.iter().all(|row| *row == rows[0]);
        // Rows that are all the same are a set at one point.
        if run > 1 && run < rows.len() && rows.len().is_multiple_of(run) && rows.chunks(run).all(alike) {
            self.values = rows.iter().step_by(run).flat_map(|row| row.to_vec()).collect();
        }
        self
    }
}

impl FieldFile {
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
        let parameters = parameters.once_each();
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
        let suite = self.name.as_ref().map(|name| name.suite.as_str());
        let bounds = ranges_beside(path, suite, table.names());
        Ok(Parameters {
            names: table.names().to_vec(),
            values: table.values().to_vec(),
            bounds,
            place,
        })
    }
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
    let rows = params.rows();
    if columns > MOST_PARAMETERS || rows.checked_mul(columns).is_none_or(|n| n > MOST_VALUES) {
        return Err(params.error(format!(
            "{columns} parameters of {rows} simulations are not allowed; there are at most {MOST_PARAMETERS} parameters, \
             and {MOST_VALUES} values of all"
        )));
    }
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
fn ranges_beside(table: &Path, suite: Option<&str>, names: &[String]) -> Option<(UnitBox, Vec<bool>)> {
    let folder = match table.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut files = text_files(folder, "Info_").ok()?;
    // Suites have ranges of their own: that of the maps, else the only one there is.
    let of_suite = |path: &PathBuf| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        suite
            .is_some_and(|suite| name.contains(&format!("_{suite}_")) || name.contains(&format!("_{suite}.")))
    };
    if files.iter().any(of_suite) {
        files.retain(of_suite);
    } else if files.len() > 1 {
        return None;
    }
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
