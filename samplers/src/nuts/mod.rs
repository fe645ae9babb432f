//! Follow the gradient's flow until it turns back: `Nuts`, and its tree.

mod kernel;
mod tree;

use serde::{Deserialize, Serialize};

use crate::density::DifferentiableDensity;
use crate::error::SampleError;
use crate::hmc::MetricKind;
use crate::hmc::adaptation::WarmUp;
use crate::run::markov::run_chains;
use crate::run::{Chain, Run, RunOptions};
use crate::sampler::Sampler;
use crate::settings::check_acceptance;

use kernel::NutsKernel;

/// The deepest tree that can be asked for: a million gradients for one draw.
const DEEPEST: usize = 20;

/// The No-U-Turn sampler (Hoffman & Gelman 2014, arXiv 1111.4246) on the real line, with draws from the whole
/// tree by their weights, later halves preferred (Betancourt 2017, arXiv 1701.02434, appendix A).
///
/// It needs a gradient, and nothing else of the user: paths are as long as the posterior lets them go. A tree
/// ends where its ends turn towards each other, judged by the sum of its momenta, or where one half of it does
/// with the next point of the other. During warm-up the step size aims at an acceptance, and the metric
/// follows the draws and their gradients (Seyboldt, Carlson & Carpenter 2026, arXiv 2603.18845); a few hundred
/// steps are enough.
///
/// A path that meets a failed evaluation, or whose energy runs away, is a divergence and is reported. One
/// that leaves the support ends there and is not: an edge is no failure of the integrator. Either way the
/// draw comes from the tree as it was before its last doubling, so that the chain stays exact.
///
/// ```
/// use armilla_samplers::prelude::*;
///
/// struct Measured;
/// impl Likelihood for Measured {
///     fn dim(&self) -> usize { 1 }
///     fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> { self.value_and_gradient(x, &mut [0.0]) }
/// }
/// impl DifferentiableLikelihood for Measured {
///     fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
///         gradient[0] = 3.0 - x[0];
///         Ok(-0.5 * (3.0 - x[0]).powi(2))
///     }
/// }
/// let prior = Prior::new().with("x", Normal::new(0.0, 1.0)?)?;
/// let posterior = Posterior::new(prior, Measured)?;
/// let run = Nuts::default().sample(&posterior, &RunOptions::default())?;
/// assert!((run.summary().parameters[0].mean - 1.5).abs() < 0.1);
/// # Ok::<(), SampleError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Nuts {
    /// The acceptance aimed at, on average over the tree.
    pub target_acceptance: f64,
    /// How often a tree may double: a draw costs at most 2^`max_depth` gradients.
    pub max_depth: usize,
    /// What the warm-up learns of the posterior's shape.
    pub metric: MetricKind,
}

impl Default for Nuts {
    fn default() -> Self {
        Self {
            target_acceptance: 0.8,
            max_depth: 10,
            metric: MetricKind::Diagonal,
        }
    }
}

impl<T: DifferentiableDensity + ?Sized> Sampler<T> for Nuts {
    fn sample(&self, target: &T, run: &RunOptions) -> Result<Run, SampleError> {
        let invalid = |message: String| Err(SampleError::Invalid(message));
        check_acceptance(self.target_acceptance)?;
        if !(1..=DEEPEST).contains(&self.max_depth) {
            return invalid(format!(
                "max_depth is {}: choose it between 1 and {DEEPEST}",
                self.max_depth
            ));
        }
        let dim = target.dim();
        let kernel = NutsKernel::new(*self, dim);
        let warm_up = WarmUp::new(self.target_acceptance, self.metric, dim, run.warmup);
        let mut run = run_chains("No-U-Turn sampler", self, target, run, kernel, warm_up)?;
        run.warnings.extend(self.cut_short(&run.chains));
        Ok(run)
    }
}

impl Nuts {
    /// A warning, if trees were cut before they turned. A tree that doubled as often as it may has one
    /// leapfrog for each of its points but the first, and no other has as many.
    fn cut_short(&self, chains: &[Chain]) -> Option<String> {
        let most = (1 << self.max_depth) - 1;
        let steps = || chains.iter().flat_map(|chain| &chain.steps);
        let cut = steps().filter(|step| step.evaluations == most).count();
        (cut > 0).then(|| {
            format!(
                "{cut} of {} draws reached max_depth {}: their paths were cut before they turned, so mixing is slow",
                steps().count(),
                self.max_depth
            )
        })
    }
}
