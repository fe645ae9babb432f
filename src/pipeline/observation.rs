//! Read the map to be inferred, and what is known about it.

use std::path::Path;

use super::TrainedFlow;
use crate::data::{FieldFile, MapPaths};
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
    /// Read map `index` of the file at `path` for `flow`, and nothing else of it but its parameters. Where
    /// these are not found, the truth is not known.
    ///
    /// # Errors
    ///
    /// A file, dataset or map that is not there or does not fit the run, and true parameters outside its prior.
    pub fn read(path: impl AsRef<Path>, paths: &MapPaths, index: usize, flow: &TrainedFlow) -> Result<Self> {
        let path = path.as_ref();
        let fields = FieldFile::open(path, paths)?;
        let &[side, _] = fields.shape() else {
            let what = format!("it holds grids of {:?} cells; runs know maps", fields.shape());
            return Err(Error::file(path, what));
        };
        flow.check_side(side).map_err(|e| Error::file(path, e))?;
        let map = fields.read(index)?;
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
        let Some(parameters) = fields.parameters(paths)? else {
            return Ok(observation);
        };
        let names = &parameters.names;
        let simulations = parameters.values.len() / names.len();
        let simulation = index / fields.per_simulation(simulations);
        let row = &parameters.values[simulation * names.len()..][..names.len()];
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
        // The numbers of its simulations in the set begin behind those of the files before it.
        let mut before = 0;
        for known in &card.data.files {
            if known.name == observation.file && known.simulations == simulations {
                observation.trained_on |= card.simulations()?.train.contains(&(before + simulation));
            }
            before += known.simulations;
        }
        Ok(observation)
    }
}
