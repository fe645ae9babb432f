//! Bring into scope what composing and sampling a posterior takes.

pub use crate::chees::ChEesHmc;
pub use crate::density::{Density, DifferentiableDensity};
pub use crate::error::{EvalError, SampleError};
pub use crate::grid::Grid;
pub use crate::hmc::{Hmc, MetricKind};
pub use crate::likelihood::{DifferentiableLikelihood, Likelihood, Points};
pub use crate::mala::Mala;
pub use crate::mclmc::Mclmc;
pub use crate::metropolis::MetropolisHastings;
pub use crate::nuts::Nuts;
pub use crate::optimise::{Adam, Lbfgs, Map, Mle, Optimiser};
pub use crate::posterior::Posterior;
pub use crate::prior::{Distribution, LogUniform, Normal, Prior, Uniform};
pub use crate::run::{
    Checkpoint, Converged, Event, Observer, Progress, Run, RunOptions, StopReason, Summary,
};
pub use crate::sampler::Sampler;
