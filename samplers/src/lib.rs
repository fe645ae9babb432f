//! Sample posteriors: interchangeable samplers over composed likelihoods and priors, without networks.

mod adapt;
pub mod bijector;
pub mod density;
pub mod diagnostics;
pub mod error;
pub mod grid;
pub mod hmc;
pub mod likelihood;
pub mod metropolis;
mod normal_quantile;
pub mod optimise;
pub mod posterior;
pub mod prelude;
pub mod prior;
pub mod rng;
pub mod run;
pub mod sampler;
pub mod surface;

pub use density::{Density, DifferentiableDensity};
pub use error::{EvalError, SampleError};
pub use grid::Grid;
pub use hmc::Hmc;
pub use likelihood::{DifferentiableLikelihood, Likelihood, Points};
pub use metropolis::MetropolisHastings;
pub use optimise::{Map, Mle};
pub use posterior::Posterior;
pub use prior::Prior;
pub use run::{Run, RunOptions};
pub use sampler::Sampler;
