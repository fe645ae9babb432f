//! Infer the parameters behind an observation.

pub mod cosmology;
pub mod error;
mod fourier;
pub mod simulators;
pub mod stats;

pub use armilla_models as models;
pub use armilla_samplers as samplers;
pub use error::{Error, Result};
