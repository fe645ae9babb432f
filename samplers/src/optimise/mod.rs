//! Find the most likely or most probable point: `Mle` and `Map`, by `Lbfgs`, `Adam` or `NelderMead` from
//! several starts.

mod adam;
mod laplace;
mod lbfgs;
mod multistart;
mod nelder_mead;
mod objective;
#[cfg(test)]
mod tests;
mod walk;

use crate::error::SampleError;
use crate::likelihood::Likelihood;
use crate::posterior::{Posterior, Terms};
use crate::run::{Run, RunOptions};
use crate::sampler::Sampler;

pub use adam::{Adam, Schedule};
pub use lbfgs::Lbfgs;
pub use nelder_mead::NelderMead;

pub(crate) use adam::Momenta;
pub(crate) use objective::Objective;
pub(crate) use walk::{Ground, walk};

/// What walks downhill on the posteriors of `L`: [`Lbfgs`] and [`Adam`] where the likelihood has a gradient,
/// [`NelderMead`] on any. There are no others: what they have in common is not for the outside.
///
/// ```compile_fail,E0277
/// # use armilla_samplers::prelude::*;
/// struct Plain;
/// impl Likelihood for Plain {
///     fn dim(&self) -> usize { 1 }
///     fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> { Ok(-x[0] * x[0]) }
/// }
/// fn optimum(posterior: &Posterior<Plain>) -> Result<Run, SampleError> {
///     // It has no gradient: `Mle::new(NelderMead::default())` compiles.
///     Mle::new(Lbfgs::default()).sample(posterior, &RunOptions::default())
/// }
/// ```
pub trait Optimiser<L: Likelihood>: walk::Walk<L> {}

/// How many starts there are unless said otherwise.
const STARTS: usize = 4;

/// The maximum of the likelihood inside the support of the prior, which has no other say in it.
///
/// The run's draws are from the normal approximation at the maximum on the real line (Laplace), marked as
/// an approximation, and its `estimate` is the point itself. `warmup` is ignored.
///
/// ```
/// use armilla_samplers::prelude::*;
/// struct Measured;
/// impl Likelihood for Measured {
///     fn dim(&self) -> usize { 1 }
///     fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> { Ok(-0.5 * (x[0] - 3.0).powi(2)) }
/// }
/// let posterior = Posterior::new(Prior::new().with("mu", Uniform::new(-10.0, 10.0)?)?, Measured)?;
/// // With a gradient, `Mle::default()` would do, which takes far fewer evaluations.
/// let run = Mle::new(NelderMead::default()).sample(&posterior, &RunOptions::default())?;
/// let estimate = run.estimate.as_ref().expect("an optimiser gives one");
/// assert!(estimate.converged && (estimate.x[0] - 3.0).abs() < 1e-3);
/// # Ok::<(), SampleError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mle<O = Lbfgs> {
    /// What walks downhill.
    pub optimiser: O,
    /// Independent starts: the centre of the prior, and draws from it.
    pub starts: usize,
}

/// The maximum of the posterior density in physical units. In all else as [`Mle`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Map<O = Lbfgs> {
    /// What walks downhill.
    pub optimiser: O,
    /// Independent starts: the centre of the prior, and draws from it.
    pub starts: usize,
}

impl<O> Mle<O> {
    /// Four starts of `optimiser`.
    pub fn new(optimiser: O) -> Self {
        Self {
            optimiser,
            starts: STARTS,
        }
    }
}

impl<O> Map<O> {
    /// Four starts of `optimiser`.
    pub fn new(optimiser: O) -> Self {
        Self {
            optimiser,
            starts: STARTS,
        }
    }
}

// For L-BFGS alone, so that `Mle::default()` says which optimiser it means.
impl Default for Mle {
    fn default() -> Self {
        Self::new(Lbfgs::default())
    }
}

impl Default for Map {
    fn default() -> Self {
        Self::new(Lbfgs::default())
    }
}

impl<L: Likelihood, O: Optimiser<L>> Sampler<Posterior<L>> for Mle<O> {
    fn sample(&self, target: &Posterior<L>, run: &RunOptions) -> Result<Run, SampleError> {
        multistart::maximise(target, run, &self.optimiser, self.starts, Terms::Likelihood)
    }
}

impl<L: Likelihood, O: Optimiser<L>> Sampler<Posterior<L>> for Map<O> {
    fn sample(&self, target: &Posterior<L>, run: &RunOptions) -> Result<Run, SampleError> {
        multistart::maximise(target, run, &self.optimiser, self.starts, Terms::Physical)
    }
}
