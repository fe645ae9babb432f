//! Accept by fresh noisy estimates, less a penalty for their noise.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::noise_level::{AdaptiveNoisyWalk, NoiseLevel, NoisyWalk, overall};
use super::noisy_posterior::{NoisyPosterior, Target};
use super::{NoiseKey, StochasticLikelihood, Unbiased};
use crate::adapt::random_walk::{target_acceptance, thinning};
use crate::adapt::{RandomWalk, Walks};
use crate::density::{Counted, Density};
use crate::error::{EvalError, SampleError};
use crate::rng::Stream;
use crate::run::markov::{Kernel, run_kernels};
use crate::run::{Run, RunOptions, Step};
use crate::sampler::Sampler;

/// Random-walk Metropolis with the penalty method of Ceperley & Dewing 1999
/// ([arXiv:physics/9812035](https://arxiv.org/abs/physics/9812035)): at each step the log likelihood is
/// estimated anew at the current point and at the proposal, and where Δ is the difference of the log densities
/// and σ² the variance of its noise, the proposal is accepted with probability min(1, exp(Δ − σ²/2)). That
/// is exact for Gaussian noise; without the penalty the draws would be too wide.
///
/// It requires estimates that are unbiased for ln p(data | x) ([`Unbiased::LogLikelihood`]) with nearly Gaussian
/// noise, whose size may depend on x. With `repeats` 1, σ² is the sum of the squares of the two `standard_error`s,
/// taken as known; an estimator that does not tell one is refused. With more, Δ is the mean over so many pairs of
/// estimates and σ² comes from their scatter, with the larger penalty that the
/// paper derives for an estimated variance (three terms of a series in σ²/`repeats`): good while σ² of that mean
/// is below a quarter of `repeats`, and the run warns where it is not.
///
/// A step costs 2 · `repeats` estimates, and the larger σ² the fewer are accepted. Warm-up is that of
/// [`MetropolisHastings`](crate::MetropolisHastings). The `log_density` of a draw is a noisy estimate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Penalty {
    /// Estimates per point and step: 1, or enough to tell their scatter, say 8.
    pub repeats: usize,
    /// The acceptance to aim at were there no noise; by default 0.44 for one parameter, else 0.234.
    pub target_acceptance: Option<f64>,
    /// Steps per draw; by default as many as there are parameters. The chain keeps the last of them.
    pub thinning: Option<usize>,
}

impl Default for Penalty {
    fn default() -> Self {
        Self {
            repeats: 1,
            target_acceptance: None,
            thinning: None,
        }
    }
}

/// Fewer repeats tell too little of their scatter.
const FEWEST_REPEATS: usize = 4;
/// The standard deviation of Δ above which steps are wasted, as for pseudo-marginal methods: an acceptance
/// of 0.29 at best.
const WORST_NOISE: f64 = 1.5 * std::f64::consts::SQRT_2;

#[derive(Clone, Serialize, Deserialize)]
struct PenaltyKernel {
    walk: RandomWalk,
    repeats: usize,
    thinning: usize,
    noise: NoiseLevel,
}

#[derive(Serialize, Deserialize)]
struct PenaltyState {
    z: Vec<f64>,
    /// The last estimate at `z`.
    log_density: f64,
    /// The variance of the last difference.
    variance: Option<f64>,
    /// Where the chain began, and the estimate there under the target's own key.
    start: (Vec<f64>, f64),
}

/// The difference of the log densities of a proposal and the current point, each estimated.
struct Difference {
    current: f64,
    proposed: f64,
    /// Of the mean difference.
    variance: f64,
}

/// What is subtracted from a log ratio with noise of this variance.
fn penalty(variance: f64, repeats: usize) -> f64 {
    if repeats == 1 {
        return 0.5 * variance;
    }
    let n = repeats as f64;
    // −ln F to third order, where F is the function of the estimated variance whose mean is exp(−σ²/2).
    let (second, third) = (0.25 / (n + 1.0), 1.0 / (3.0 * (n + 1.0) * (n + 3.0)));
    variance * (0.5 + variance * (second + variance * third))
}

impl PenaltyKernel {
    fn compare<L: StochasticLikelihood>(
        &self,
        target: &Counted<'_, Target<'_, L>>,
        current: &[f64],
        proposed: &[f64],
        rng: &mut Stream,
    ) -> Result<Difference, EvalError> {
        let mut estimate = |z: &[f64]| {
            let key = NoiseKey::draw(rng);
            target.estimate(z, |likelihood, x| likelihood.estimate(x, key))
        };
        if self.repeats == 1 {
            let (current, proposed) = (estimate(current)?, estimate(proposed)?);
            let (Some(a), Some(b)) = (current.standard_error, proposed.standard_error) else {
                return Err(untold());
            };
            return Ok(Difference {
                current: current.log_density,
                proposed: proposed.log_density,
                variance: a * a + b * b,
            });
        }
        let n = self.repeats as f64;
        let mut differences = Vec::with_capacity(self.repeats);
        let (mut at_current, mut at_proposed) = (0.0, 0.0);
        for _ in 0..self.repeats {
            let (a, b) = (estimate(current)?.log_density, estimate(proposed)?.log_density);
            differences.push(b - a);
            at_current += a / n;
            at_proposed += b / n;
        }
        let mean = at_proposed - at_current;
        let scatter: f64 = differences
            .iter()
            .map(|difference| (difference - mean).powi(2))
            .sum();
        Ok(Difference {
            current: at_current,
            proposed: at_proposed,
            variance: scatter / (n * (n - 1.0)),
        })
    }
}

fn untold() -> EvalError {
    EvalError::Fatal(
        "the estimates do not tell their standard error, which a penalty needs: set repeats to 8, or more"
            .into(),
    )
}

impl Walks for PenaltyKernel {
    fn walk(&mut self) -> &mut RandomWalk {
        &mut self.walk
    }
}

impl<L: StochasticLikelihood> Kernel<Target<'_, L>> for PenaltyKernel {
    type State = PenaltyState;

    fn init(
        &mut self,
        target: &Counted<'_, Target<'_, L>>,
        z: Vec<f64>,
        _rng: &mut Stream,
    ) -> Result<PenaltyState, EvalError> {
        let key = target.target().key();
        let estimated = target.estimate(&z, |likelihood, x| likelihood.estimate(x, key))?;
        if self.repeats == 1 && estimated.standard_error.is_none() {
            return Err(untold());
        }
        Ok(PenaltyState {
            start: (z.clone(), estimated.log_density),
            z,
            log_density: estimated.log_density,
            variance: None,
        })
    }

    fn step(
        &self,
        target: &Counted<'_, Target<'_, L>>,
        state: &mut PenaltyState,
        rng: &mut Stream,
    ) -> Result<Step, EvalError> {
        let mut report = Step {
            evaluations: (2 * self.repeats * self.thinning) as u32,
            ..Step::default()
        };
        for _ in 0..self.thinning {
            let z = self.walk.propose(&state.z, rng);
            let uniform = rng.random::<f64>();
            let Difference {
                current,
                proposed,
                variance,
            } = match self.compare(target, &state.z, &z, rng) {
                Ok(difference) => difference,
                Err(EvalError::Recoverable(_)) => {
                    report.diverged = true;
                    continue;
                }
                Err(fatal) => return Err(fatal),
            };
            state.variance = Some(variance);
            if current.is_finite() {
                state.log_density = current;
            }
            let log_ratio = proposed - current - penalty(variance, self.repeats);
            // Two estimates of minus infinity cannot be compared.
            let acceptance = if log_ratio.is_nan() {
                0.0
            } else {
                log_ratio.exp().min(1.0)
            };
            report.acceptance += acceptance / self.thinning as f64;
            if uniform < acceptance {
                state.z = z;
                state.log_density = proposed;
            }
        }
        Ok(report)
    }

    fn position(state: &PenaltyState) -> (&[f64], f64) {
        (&state.z, state.log_density)
    }

    fn witness(state: &PenaltyState) -> (&[f64], f64) {
        (&state.start.0, state.start.1)
    }

    fn step_size(&self) -> f64 {
        self.walk.scale
    }
}

impl<L: StochasticLikelihood> NoisyWalk<Target<'_, L>> for PenaltyKernel {
    fn noise(&mut self) -> &mut NoiseLevel {
        &mut self.noise
    }

    fn read_noise(
        &self,
        _target: &Counted<'_, Target<'_, L>>,
        state: &PenaltyState,
        _step: usize,
        _rng: &mut Stream,
    ) -> Result<Option<f64>, EvalError> {
        Ok(state.variance)
    }
}

impl<L: StochasticLikelihood> Sampler<NoisyPosterior<L>> for Penalty {
    fn sample(&self, posterior: &NoisyPosterior<L>, options: &RunOptions) -> Result<Run, SampleError> {
        // Beyond a million, `2 · repeats · thinning` need not fit a report.
        if self.repeats != 1 && !(FEWEST_REPEATS..=1_000_000).contains(&self.repeats) {
            return Err(SampleError::Invalid(format!(
                "repeats is {}: choose 1, where estimates tell their standard error, or {FEWEST_REPEATS} and more",
                self.repeats
            )));
        }
        let target = Target::new(posterior, options.seed);
        let dim = target.dim();
        let acceptance = target_acceptance(self.target_acceptance, dim)?;
        let kernel = PenaltyKernel {
            walk: RandomWalk::new(dim),
            repeats: self.repeats,
            thinning: thinning(self.thinning, dim)?,
            noise: NoiseLevel::default(),
        };
        let adaptation = AdaptiveNoisyWalk::new(acceptance, dim, options.warmup);
        let method = "Metropolis–Hastings with a penalty";
        let (mut run, kernels) = run_kernels(method, self, &target, options, kernel, adaptation)?;
        run.warnings.extend(target.warn_unless(
            Unbiased::LogLikelihood,
            "the draws are right only if the bias of their logarithm is the same at every point",
        ));
        let Some(sd) = overall(kernels.iter().map(|kernel| &kernel.noise)) else {
            return Ok(run);
        };
        if sd > WORST_NOISE {
            run.warnings.push(format!(
                "the noise of the difference of two estimates has a standard deviation of {sd:.2} near the posterior, \
                 and most steps are rejected for it: average more in each estimate, until it is about 1.7"
            ));
        }
        if self.repeats > 1 && sd * sd > 0.25 * self.repeats as f64 {
            run.warnings.push(format!(
                "{} repeats are too few to tell noise of a variance of {:.2}: the draws are too wide",
                self.repeats,
                sd * sd
            ));
        }
        Ok(run)
    }
}

#[cfg(test)]
mod tests {
    use super::penalty;
    use crate::rng::{Purpose, stream};
    use rand::RngExt;
    use rand_distr::StandardNormal;

    #[test]
    fn the_penalty_of_an_estimated_variance_is_that_of_the_known_one_on_average() {
        // E exp(−penalty(s²)) = exp(−σ²/2) over sample variances s² with n − 1 degrees of freedom, to the
        // order of the series; half of the estimated variance would miss by the second term.
        let (n, variance, trials) = (8, 0.8, 200_000);
        let mut rng = stream(1, Purpose::Chain, 0);
        let (mut sum, mut squares, mut naive) = (0.0, 0.0, 0.0);
        for _ in 0..trials {
            let chi2: f64 = (1..n).map(|_| rng.sample::<f64, _>(StandardNormal).powi(2)).sum();
            let estimated = variance * chi2 / (n - 1) as f64;
            let factor = (-penalty(estimated, n)).exp();
            sum += factor;
            squares += factor * factor;
            naive += (-0.5 * estimated).exp();
        }
        let trials = f64::from(trials);
        let (mean, naive, expected) = (sum / trials, naive / trials, (-0.5 * variance).exp());
        let error = ((squares / trials - mean * mean) / trials).sqrt();
        // What the series leaves out is of fourth order in the variance, over the cube of n.
        let left_out = variance.powi(4) / (8.0 * 9.0 * 11.0 * 13.0);
        assert!(
            (mean - expected).abs() < 5.0 * error + left_out,
            "{mean} {expected} {error}"
        );
        assert!(
            (naive - expected).abs() > 20.0 * error,
            "{naive} {expected} {error}"
        );
    }
}
