//! Read the map to be inferred, and what is known about it.

use std::path::Path;

use super::TrainedFlow;
use crate::data::hdf5::Hdf5File;
use crate::data::{MapPaths, camels_names, read_map};
use crate::{Error, Result};

/// One map of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Its pixels, row by row.
    pub map: Vec<f32>,
    /// Its number in the file.
    pub index: usize,
    /// The name of the file.
    pub file: String,
    /// The true parameters in the order of the run, where the file has them.
    pub truth: Option<Vec<f64>>,
    /// Whether the run was trained on it, as far as can be told.
    pub trained_on: bool,
}

impl Observation {
    /// Read map `index` of the file at `path` for `flow`, and nothing else of it but its parameters. A file without the
    /// dataset of the parameters is one whose truth is not known.
    ///
    /// # Errors
    ///
    /// A file, dataset or map that is not there or does not fit the run, and true parameters outside its prior.
    pub fn read(path: impl AsRef<Path>, paths: &MapPaths, index: usize, flow: &TrainedFlow) -> Result<Self> {
        let path = path.as_ref();
        let (map, side) = read_map(path, &paths.maps, index)?;
        flow.check_side(side).map_err(|e| Error::file(path, e))?;
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let card = flow.card();
        let mut observation = Self {
            map,
            index,
            file,
            truth: None,
            trained_on: false,
        };
        let Some((names, row, simulation, simulations)) = parameters(path, paths, index)? else {
            return Ok(observation);
        };
        let place = |name: &String| names.iter().position(|n| n == name);
        let places: Option<Vec<usize>> = card.parameters.names().iter().map(place).collect();
        if let Some(places) = places {
            let truth: Vec<f64> = places.iter().map(|&i| row[i]).collect();
            let owner = format!("map {index} (simulation {simulation})");
            card.parameters
                .check(&truth, &owner)
                .map_err(|e| Error::file(path, format!("{e}: the run was not trained there")))?;
            observation.truth = Some(truth);
        }
        let same = observation.file == card.data.file && simulations == card.data.simulations;
        observation.trained_on = same && card.simulations()?.train.contains(&simulation);
        Ok(observation)
    }
}

/// Names and values of the parameters of map `index`, its simulation and the number of simulations.
type Row = (Vec<String>, Vec<f64>, usize, usize);

fn parameters(path: &Path, paths: &MapPaths, index: usize) -> Result<Option<Row>> {
    let file = Hdf5File::open(path)?;
    let there = file
        .datasets()?
        .iter()
        .any(|d| d.path == paths.params.trim_matches('/'));
    if !there && paths.params == MapPaths::default().params {
        return Ok(None);
    }
    let params = file.dataset(&paths.params)?;
    let maps = file.dataset(&paths.maps)?.rows();
    let columns = match *params.shape() {
        [_] => 1,
        [_, columns] if columns > 0 => columns,
        _ => return Err(params.error("parameters need the shape (simulations, parameters)")),
    };
    let simulations = params.rows();
    if simulations == 0 || !maps.is_multiple_of(simulations) {
        return Err(params.error(format!("{maps} maps cannot belong to {simulations} simulations")));
    }
    let simulation = index / (maps / simulations);
    let row: Vec<f64> = params.read_rows(simulation..simulation + 1)?;
    let names = params.info().attributes.get("names").and_then(|a| a.to_texts());
    let names = names
        .filter(|n| n.len() == columns)
        .unwrap_or_else(|| camels_names(columns));
    Ok(Some((names, row, simulation, simulations)))
}
