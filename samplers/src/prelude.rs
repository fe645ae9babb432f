//! Bring into scope what composing and sampling a posterior takes.

pub use crate::density::{Density, DifferentiableDensity};
pub use crate::distribution::{
    Bernoulli, Beta, Binomial, Cauchy, Dirichlet, Exponential, Flat, Gamma, HalfCauchy, HalfFlat, HalfNormal,
    InverseGamma, Laplace, LkjCholesky, LogNormal, LogUniform, Multivariate, MultivariateNormal,
    NegativeBinomial, Normal, Ordered, Poisson, StudentT, TruncatedNormal, Uniform, Univariate,
};
pub use crate::error::{EvalError, SampleError};
pub use crate::grid::Grid;
pub use crate::hmc::Hmc;
pub use crate::likelihood::{DifferentiableLikelihood, Likelihood, Points};
pub use crate::metropolis::MetropolisHastings;
pub use crate::model;
pub use crate::model::{Model, ModelPosterior, NamedDraws};
pub use crate::optimise::{Adam, Lbfgs, Map, Mle, Optimiser};
pub use crate::posterior::Posterior;
pub use crate::prior::Prior;
pub use crate::run::{Progress, Run, RunOptions, StopReason, Summary};
pub use crate::sampler::Sampler;
