//! Sample posteriors: interchangeable samplers over composed likelihoods and priors, without networks.
//!
//! A [`Prior`] names the parameters, a [`Likelihood`] is yours, a [`Posterior`] composes the two on the
//! real line, and every [`Sampler`] turns it into the same [`Run`]:
//!
//! | sampler | needs | gives |
//! |---|---|---|
//! | [`Nuts`] | a gradient | chains |
//! | [`Hmc`] | a gradient | chains |
//! | [`ChEesHmc`] | gradients in batches, two chains | chains |
//! | [`Mclmc`] | a gradient, two unknowns | chains |
//! | [`Mala`] | a gradient | chains |
//! | [`MetropolisHastings`] | a value | chains |
//! | [`Ensemble`] | a value | a chain for each walker |
//! | [`ParallelTempering`] | a prior and a likelihood | chains across modes, evidence |
//! | [`Smc`] | a prior and a likelihood | independent particles, evidence |
//! | [`Grid`] | a value, few parameters | weighted cells, evidence |
//! | [`Mle`], [`Map`] | a gradient, or with [`NelderMead`](optimise::NelderMead) a value | an optimum, and draws about it |
//! | [`Advi`] | a gradient | draws from a fitted normal, weighted where they can be; a bound of the evidence |
//! | [`PseudoMarginal`] | unbiased estimates of the likelihood | chains |
//! | [`CorrelatedPseudoMarginal`] | those, and their normal variables | chains |
//! | [`Penalty`] | unbiased estimates of the log likelihood | chains |
//! | [`Sgld`] | unbiased estimates of its gradient | weighted chains, approximate |
//!
//! ```
//! use armilla_samplers::prelude::*;
//!
//! /// Counts in equal times, from a source of unknown rate.
//! struct Counts(Vec<f64>);
//!
//! impl Likelihood for Counts {
//!     fn dim(&self) -> usize { 1 }
//!     fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
//!         Ok(self.0.iter().map(|n| n * x[0].ln() - x[0]).sum())
//!     }
//! }
//!
//! let prior = Prior::new().with("rate", LogUniform::new(0.1, 100.0)?)?;
//! let posterior = Posterior::new(prior, Counts(vec![3.0, 5.0, 4.0, 8.0]))?;
//! let run = MetropolisHastings::default().sample(&posterior, &RunOptions::default())?;
//! let rate = &run.summary().parameters[0];
//! // The posterior is a gamma distribution of shape 20 and rate 4.
//! assert!((rate.mean - 5.0).abs() < 0.2 && (rate.sd - 20f64.sqrt() / 4.0).abs() < 0.2);
//! # Ok::<(), SampleError>(())
//! ```

mod adapt;
pub mod bijector;
pub mod check_gradient;
pub mod chees;
pub mod density;
pub mod diagnostics;
pub mod distribution;
pub mod ensemble;
pub mod error;
pub mod export;
pub mod grid;
pub mod hmc;
pub mod likelihood;
pub mod mala;
pub mod mclmc;
pub mod metropolis;
pub mod model;
mod normal_quantile;
pub mod number;
pub mod nuts;
pub mod optimise;
pub mod parallel_tempering;
pub mod posterior;
pub mod predictive;
pub mod prelude;
pub mod prior;
pub mod rng;
pub mod run;
pub mod sampler;
mod settings;
pub mod smc;
pub mod stochastic;
pub mod surface;
mod tempered;
pub mod variational;

// What is sampled, by what, and what comes of it.
pub use check_gradient::check_gradient;
pub use density::{Density, DifferentiableDensity};
pub use error::{EvalError, SampleError};
pub use likelihood::{DifferentiableLikelihood, Generative, Likelihood, Points};
pub use model::{Model, ModelPosterior};
pub use posterior::Posterior;
pub use predictive::{posterior_predictive, prior_predictive};
pub use prior::Prior;
pub use run::{Run, RunOptions};
pub use sampler::Sampler;

// Chains.
pub use chees::ChEesHmc;
pub use hmc::{Hmc, MetricKind};
pub use mala::Mala;
pub use mclmc::Mclmc;
pub use metropolis::MetropolisHastings;
pub use nuts::Nuts;

// Populations and grids.
pub use ensemble::Ensemble;
pub use grid::Grid;
pub use parallel_tempering::ParallelTempering;
pub use smc::Smc;

// Optima and approximations.
pub use optimise::{Map, Mle};
pub use variational::Advi;

// Noisy likelihoods.
pub use stochastic::{
    CorrelatedPseudoMarginal, NoiseKey, NoisyPosterior, Penalty, PseudoMarginal, Sgld, StochasticLikelihood,
};
