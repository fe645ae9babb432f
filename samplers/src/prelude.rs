//! Bring into scope what composing and sampling a posterior takes.

// What is sampled, by what, and what comes of it.
pub use crate::check_gradient::{
    GradientCheck, check_gradient, check_gradient_at, check_likelihood_gradient,
};
pub use crate::density::{Density, DifferentiableDensity};
pub use crate::distribution::{
    Bernoulli, Beta, Binomial, Cauchy, Dirichlet, Exponential, Flat, Gamma, HalfCauchy, HalfFlat, HalfNormal,
    InverseGamma, Laplace, LkjCholesky, LogNormal, LogUniform, Multivariate, MultivariateNormal,
    NegativeBinomial, Normal, Ordered, Poisson, StudentT, TruncatedNormal, Uniform, Univariate,
};
pub use crate::error::{EvalError, SampleError};
pub use crate::likelihood::{DifferentiableLikelihood, Generative, Likelihood, Points, Repeated};
pub use crate::model;
pub use crate::model::{Model, ModelPosterior, NamedDraws};
pub use crate::number::{AutoDiff, GenericLikelihood, Number};
pub use crate::posterior::Posterior;
pub use crate::predictive::{Prediction, posterior_predictive, prior_predictive};
pub use crate::prior::Prior;
pub use crate::run::{
    Checkpoint, Converged, Event, Observer, Progress, Run, RunOptions, StopReason, Summary,
};
pub use crate::sampler::Sampler;

// Chains.
pub use crate::chees::ChEesHmc;
pub use crate::hmc::{Hmc, MetricKind};
pub use crate::mala::Mala;
pub use crate::mclmc::Mclmc;
pub use crate::metropolis::MetropolisHastings;
pub use crate::nuts::Nuts;

// Populations and grids.
pub use crate::ensemble::{Ensemble, Move};
pub use crate::grid::{Grid, OffAxis};
pub use crate::parallel_tempering::ParallelTempering;
pub use crate::smc::Smc;

// Optima and approximations.
pub use crate::optimise::{Adam, Lbfgs, Map, Mle, NelderMead, Optimiser, Schedule};
pub use crate::variational::{Advi, Family};

// Noisy likelihoods.
pub use crate::stochastic::{
    CorrelatedLikelihood, CorrelatedPseudoMarginal, DifferentiableStochasticLikelihood, LogEstimate,
    NoiseKey, NoisyPosterior, Penalty, PseudoMarginal, Sgld, StochasticLikelihood, Unbiased,
};
