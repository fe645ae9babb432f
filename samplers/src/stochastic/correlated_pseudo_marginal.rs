//! Keep most of the noise of an estimate from one step to the next.

use serde::{Deserialize, Serialize};

use super::pseudo_marginal::{NoiseSource, Settings, run_pseudo_marginal};
use super::{CorrelatedLikelihood, LogEstimate, NoiseKey, NoisyPosterior};
use crate::error::{EvalError, SampleError};
use crate::run::{Run, RunOptions};
use crate::sampler::Sampler;

/// Correlated pseudo-marginal random-walk Metropolis (Deligiannidis, Doucet & Pitt 2018,
/// [arXiv:1511.04992](https://arxiv.org/abs/1511.04992)): as [`PseudoMarginal`](super::PseudoMarginal), but
/// the normal variables u behind an estimate move by a Crank–Nicolson step, u' = ρ u + √(1 − ρ²) ε. Most of
/// the noise of a proposal and its predecessor is then common and cancels in their ratio, so that far noisier
/// estimates serve.
///
/// It requires a [`CorrelatedLikelihood`] whose estimates at neighbouring u are neighbours, and unbiased ones
/// of p(data | x), with what is said there of noise on the logarithm. What counts is the noise of the log ratio:
/// the run warns where its standard deviation is above 2.6, at which a fifth of all steps is accepted at best,
/// as read during warm-up from pairs of extra estimates at every tenth step. Only accepted steps move
/// the noise, which forgets its past in 1/(1 − ρ) of them: with ρ closer to one than the noise asks for,
/// chains mix in x but slowly in u. The default serves noise of up to 5 on a single estimate; where it is
/// below 1.5, `PseudoMarginal` is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CorrelatedPseudoMarginal {
    /// ρ, from 0 (which is `PseudoMarginal`) to below 1.
    pub correlation: f64,
    /// The acceptance to aim at were there no noise; by default 0.44 for one parameter, else 0.234.
    pub target_acceptance: Option<f64>,
    /// Steps per draw; by default as many as there are parameters. The chain keeps the last of them.
    pub thinning: Option<usize>,
}

impl Default for CorrelatedPseudoMarginal {
    fn default() -> Self {
        Self {
            correlation: 0.9,
            target_acceptance: None,
            thinning: None,
        }
    }
}

/// Standard normal variables that move a little.
#[derive(Clone, Serialize, Deserialize)]
struct CrankNicolson {
    correlation: f64,
}

impl<L: CorrelatedLikelihood> NoiseSource<L> for CrankNicolson {
    type Noise = Vec<f64>;

    fn fresh(&self, likelihood: &L, key: NoiseKey) -> Vec<f64> {
        key.normals(likelihood.noise_dim())
    }
    fn moved(&self, noise: &Vec<f64>, key: NoiseKey) -> Vec<f64> {
        let rest = (1.0 - self.correlation * self.correlation).sqrt();
        let moved = noise.iter().zip(key.normals(noise.len()));
        moved.map(|(u, e)| self.correlation * u + rest * e).collect()
    }
    fn estimate(likelihood: &L, x: &[f64], noise: &Vec<f64>) -> Result<LogEstimate, EvalError> {
        likelihood.estimate_with(x, noise)
    }
    fn variance_of_ratio(&self, _standard_error: Option<f64>) -> Option<f64> {
        // How much of the noise is common, only a pair of estimates can tell.
        None
    }
}

impl<L: CorrelatedLikelihood> Sampler<NoisyPosterior<L>> for CorrelatedPseudoMarginal {
    fn sample(&self, posterior: &NoisyPosterior<L>, options: &RunOptions) -> Result<Run, SampleError> {
        if !(0.0..1.0).contains(&self.correlation) {
            return Err(SampleError::Invalid(format!(
                "correlation is {}: choose it from 0 to below 1",
                self.correlation
            )));
        }
        let settings = Settings {
            method: "correlated pseudo-marginal Metropolis–Hastings",
            target_acceptance: self.target_acceptance,
            thinning: self.thinning,
            worst: 2.6,
            best: 2.0,
        };
        let source = CrankNicolson {
            correlation: self.correlation,
        };
        run_pseudo_marginal(&settings, self, source, posterior, options)
    }
}
