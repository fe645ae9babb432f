//! Follow the gradient's flow over the posterior: `Hmc`, its kernel and adaptation, and the metric and the
//! leapfrog that all samplers with momenta share.

pub(crate) mod adaptation;
pub(crate) mod kernel;
pub(crate) mod leapfrog;
pub(crate) mod metric;
pub(crate) mod reshaping;

use serde::{Deserialize, Serialize};

use crate::density::DifferentiableDensity;
use crate::error::SampleError;
use crate::run::markov::run_chains;
use crate::run::{Run, RunOptions};
use crate::sampler::Sampler;
use crate::settings::{check_acceptance, check_leapfrogs, check_path_length};

use adaptation::WarmUp;
use kernel::HmcKernel;
pub use metric::MetricKind;

/// Hamiltonian Monte Carlo (Duane et al. 1987, doi:10.1016/0370-2693(87)91197-X; Neal 2011, arXiv
/// 1206.1901) on the real line.
///
/// It needs a gradient. During warm-up the step size aims at an acceptance, and the metric follows the draws
/// and their gradients (Seyboldt, Carlson & Carpenter 2026, arXiv 2603.18845); a few hundred steps are enough.
/// Path lengths are drawn at random, so that no direction comes full circle. Where directions differ in
/// length by more than the metric can undo, no one path length suits them all: there [`Nuts`](crate::Nuts)
/// does better.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Hmc {
    /// The acceptance aimed at.
    pub target_acceptance: f64,
    /// The mean path length, in standard deviations of the posterior. Of a Gaussian, π/2 forgets the start.
    pub path_length: f64,
    /// The most leapfrog steps, and so gradients, per draw.
    pub max_leapfrogs: usize,
    /// What the warm-up learns of the posterior's shape.
    pub metric: MetricKind,
}

impl Default for Hmc {
    fn default() -> Self {
        Self {
            target_acceptance: 0.8,
            path_length: std::f64::consts::FRAC_PI_2,
            max_leapfrogs: 64,
            metric: MetricKind::Diagonal,
        }
    }
}

impl<T: DifferentiableDensity + ?Sized> Sampler<T> for Hmc {
    fn sample(&self, target: &T, run: &RunOptions) -> Result<Run, SampleError> {
        check_acceptance(self.target_acceptance)?;
        check_path_length(self.path_length)?;
        check_leapfrogs(self.max_leapfrogs)?;
        let dim = target.dim();
        let kernel = HmcKernel::new(*self, dim);
        let adaptation = WarmUp::new(self.target_acceptance, self.metric, dim, run.warmup);
        run_chains("Hamiltonian Monte Carlo", self, target, run, kernel, adaptation)
    }
}
