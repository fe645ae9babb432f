//! Train conditional generative models and read them as differentiable likelihoods.

pub mod device;
pub mod error;
pub mod nets;
pub mod ops;
pub mod weights;

pub use device::Device;
pub use error::{ModelError, Result};
