//! Hand runs to other programs and read them back: `csv`, `json`, `getdist`, `zarr`.
//!
//! | format | for | keeps |
//! |---|---|---|
//! | [`csv`] | tables, pandas | draws, densities, weights, steps |
//! | [`json`] | programs | the whole [`Run`] |
//! | [`getdist`] | GetDist, Cobaya, CosmoMC | draws, weights, densities, ranges |
//! | [`zarr`] | ArviZ, xarray | draws and sample statistics as `InferenceData` |
//!
//! ```
//! use armilla_samplers::{export, prelude::*};
//! # struct Measured;
//! # impl Likelihood for Measured {
//! #     fn dim(&self) -> usize { 1 }
//! #     fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> { Ok(-0.5 * (x[0] - 3.0).powi(2)) }
//! # }
//! # let posterior = Posterior::new(Prior::new().with("mu", Uniform::new(-10.0, 10.0)?)?, Measured)?;
//! # let folder = tempfile::tempdir()?;
//! let run = MetropolisHastings::default().sample(&posterior, &RunOptions::default())?;
//! let path = folder.path().join("run.json");
//! export::json::write(&run, &path)?;
//! assert_eq!(export::json::read(&path)?, run);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod csv;
pub mod getdist;
pub mod json;
pub mod zarr;

use std::fs;
use std::path::Path;

use crate::error::SampleError;
use crate::run::checkpoint::file_error;
use crate::run::{Chain, Run};

fn read_text(path: &Path) -> Result<String, SampleError> {
    fs::read_to_string(path).map_err(|error| file_error(path, &error))
}

fn invalid(path: &Path, what: impl std::fmt::Display) -> SampleError {
    SampleError::File(format!("{}: {what}", path.display()))
}

/// What a file of draws tells of a run.
fn run_of_draws(path: &Path, names: Vec<String>, chains: Vec<Chain>) -> Run {
    let file = path.file_name().unwrap_or(path.as_os_str());
    let method = format!("draws of {}", file.to_string_lossy());
    Run::of_chains(method, names, chains)
}
