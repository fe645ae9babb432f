//! Move at constant speed, turned by the gradient: `Mclmc`.

mod gliding;
mod kernel;
mod unadjusted;

use serde::{Deserialize, Serialize};

use crate::density::DifferentiableDensity;
use crate::error::SampleError;
use crate::hmc::MetricKind;
use crate::hmc::adaptation::WarmUp;
use crate::run::markov::run_chains;
use crate::run::{Run, RunOptions};
use crate::sampler::Sampler;
use crate::settings::{check_acceptance, check_leapfrogs, check_path_length};

use kernel::MclmcKernel;
use unadjusted::Unadjusted;

/// Microcanonical Langevin-like Monte Carlo (Robnik, De Luca, Silverstein & Seljak 2023, arXiv 2212.08549) on
/// the real line: the velocity keeps its length and is only turned, towards where the density rises, so
/// that steps stay as long where the density is steep.
///
/// By default the ends of its paths are accepted or refused (Robnik, Cohn-Gordon & Seljak 2025, arXiv
/// 2503.01707), each path setting out in a new direction, and the draws are those of the posterior. Unadjusted,
/// the direction is forgotten little by little (Robnik & Seljak 2023, arXiv 2303.18221), no gradient is spent in
/// vain, and a small bias remains; the run says so.
///
/// It needs a gradient, and at least two unknowns: on a line there is nowhere to turn. Step size and metric are
/// tuned during warm-up.
///
/// ```
/// use armilla_samplers::prelude::*;
/// # struct Plane;
/// # impl Likelihood for Plane {
/// #     fn dim(&self) -> usize { 2 }
/// #     fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> { Ok(-0.5 * (x[0] - x[1]).powi(2)) }
/// # }
/// # impl DifferentiableLikelihood for Plane {
/// #     fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
/// #         (gradient[0], gradient[1]) = (x[1] - x[0], x[0] - x[1]);
/// #         self.log_likelihood(x)
/// #     }
/// # }
/// let prior = Prior::new().with("x", Normal::new(0.0, 1.0)?)?.with("y", Normal::new(0.0, 1.0)?)?;
/// let run = Mclmc::default().sample(&Posterior::new(prior, Plane)?, &RunOptions::default())?;
/// assert!((run.summary().parameters[0].sd - (2f64 / 3.0).sqrt()).abs() < 0.05);
/// # Ok::<(), SampleError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mclmc {
    /// Whether the ends of paths are accepted or refused, so that no bias remains.
    pub adjusted: bool,
    /// The acceptance aimed at, if adjusted.
    pub target_acceptance: f64,
    /// The mean path length per draw, in standard deviations of the posterior. Unadjusted, it is also the
    /// length on which the direction is forgotten.
    pub path_length: f64,
    /// The most leapfrog steps, and so gradients, per draw.
    pub max_leapfrogs: usize,
    /// What the warm-up learns of the posterior's shape.
    pub metric: MetricKind,
}

impl Default for Mclmc {
    /// The acceptance is that of Robnik et al. 2025. A path length of π/2 forgets the start in a Gaussian of many
    /// parameters.
    fn default() -> Self {
        Self {
            adjusted: true,
            target_acceptance: 0.9,
            path_length: std::f64::consts::FRAC_PI_2,
            max_leapfrogs: 64,
            metric: MetricKind::Diagonal,
        }
    }
}

impl<T: DifferentiableDensity + ?Sized> Sampler<T> for Mclmc {
    fn sample(&self, target: &T, run: &RunOptions) -> Result<Run, SampleError> {
        check_acceptance(self.target_acceptance)?;
        check_path_length(self.path_length)?;
        check_leapfrogs(self.max_leapfrogs)?;
        let dim = target.dim();
        if dim < 2 {
            let message = "on a line a velocity cannot turn: use another sampler for a single unknown";
            return Err(SampleError::Invalid(message.into()));
        }
        let kernel = MclmcKernel::new(*self, dim);
        if self.adjusted {
            let adaptation = WarmUp::new(self.target_acceptance, self.metric, dim, run.warmup);
            let method = "adjusted microcanonical Langevin";
            return run_chains(method, self, target, run, kernel, adaptation);
        }
        let adaptation = Unadjusted::new(self.metric, dim, run.warmup);
        let method = "unadjusted microcanonical Langevin";
        let mut run = run_chains(method, self, target, run, kernel, adaptation)?;
        let bias = "unadjusted paths: draws of a density that differs from the posterior by the error of their steps";
        run.approximation = Some(bias.into());
        Ok(run)
    }
}
