//! Infer the parameters behind an observation.

pub mod atomic;
pub mod cli;
pub mod data;
pub mod error;
pub mod plot;
mod suggest;

pub use armilla_models as models;
pub use armilla_samplers as samplers;
pub use error::{Error, Result};
