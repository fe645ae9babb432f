//! Sample posteriors: interchangeable samplers over composed likelihoods and priors, without networks.

pub mod error;
pub mod likelihood;
pub mod rng;

pub use error::{EvalError, SampleError};
pub use likelihood::{DifferentiableLikelihood, Likelihood, Points};
