//! Infer the parameters behind an observation.

pub mod atomic;
pub mod cli;
pub mod cosmology;
pub mod data;
pub mod error;
mod fourier;
pub mod pipeline;
pub mod plot;
pub mod simulators;
pub mod stats;
mod suggest;

pub use armilla_models as models;
pub use armilla_samplers as samplers;
pub use error::{Error, Result};
