//! Infer the parameters behind an observation.

pub mod error;

pub use armilla_models as models;
pub use armilla_samplers as samplers;
pub use error::{Error, Result};
