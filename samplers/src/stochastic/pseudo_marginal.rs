//! Accept by estimates of the likelihood, and keep the accepted ones.

use rand::RngExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::noise_level::{AdaptiveNoisyWalk, NoiseLevel, NoisyWalk, READ_EVERY, longest_stay, overall};
use super::noisy_posterior::{NoisyPosterior, Target};
use super::{LogEstimate, NoiseKey, StochasticLikelihood, Unbiased};
use crate::adapt::random_walk::{target_acceptance, thinning};
use crate::adapt::{RandomWalk, Walks};
use crate::density::{Counted, Density};
use crate::error::{EvalError, SampleError};
use crate::rng::Stream;
use crate::run::markov::{Kernel, run_kernels};
use crate::run::{Run, RunOptions, Step};
use crate::sampler::Sampler;

/// Pseudo-marginal random-walk Metropolis ([Andrieu & Roberts 2009](https://doi.org/10.1214/07-AOS574)): a
/// proposal is accepted by the ratio of its estimated density to the estimate that the current point was
/// accepted with. That estimate is kept, never made anew: so the chain walks over points and their noise
/// together, and the points alone are draws from the true posterior, however large the noise.
///
/// It requires estimates that are unbiased for p(data | x)
/// ([`Unbiased::Likelihood`]). Where instead ln p(data | x) has Gaussian noise of mean zero and standard
/// deviation σ, exp(estimate) is too large by the factor exp(σ²/2): harmless where σ is the same at every x,
/// since a constant factor is no matter; else the draws follow p(x | data) exp(σ(x)²/2), and
/// [`Penalty`](super::Penalty) is the method to use. The run warns of such estimates.
///
/// A lucky estimate holds the chain until another as lucky comes. With the σ of one estimate near the posterior
/// at about 1.2 the computation is spent best
/// ([Doucet et al. 2015](https://doi.org/10.1093/biomet/asu075)); the run warns above 1.5, as read during
/// warm-up from the estimates' `standard_error` or, where they tell none, from pairs of extra estimates at
/// every tenth step. Covariance and scale of the proposals follow the chain during warm-up, as those of
/// [`MetropolisHastings`](crate::MetropolisHastings); the acceptance aimed at is lowered by what the noise
/// takes. The `log_density` of a draw is the estimate it was accepted with.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PseudoMarginal {
    /// The acceptance to aim at were there no noise; by default 0.44 for one parameter, else 0.234.
    pub target_acceptance: Option<f64>,
    /// Steps per draw; by default as many as there are parameters. The chain keeps the last of them.
    pub thinning: Option<usize>,
}

/// How the noise of an estimate comes about.
pub(super) trait NoiseSource<L>: Clone + Send + Sync + Serialize + DeserializeOwned {
    /// What fixes an estimate at a point.
    type Noise: Send + Serialize + DeserializeOwned;

    /// Noise that has nothing to do with any other.
    fn fresh(&self, likelihood: &L, key: NoiseKey) -> Self::Noise;

    /// The noise of a proposal from a state with this one.
    fn moved(&self, noise: &Self::Noise, key: NoiseKey) -> Self::Noise;

    fn estimate(likelihood: &L, x: &[f64], noise: &Self::Noise) -> Result<LogEstimate, EvalError>;

    /// The variance of a log ratio of estimates, where their own standard error tells it.
    fn variance_of_ratio(&self, standard_error: Option<f64>) -> Option<f64>;
}

/// Every estimate has a key of its own.
#[derive(Clone, Serialize, Deserialize)]
struct Independent;

impl<L: StochasticLikelihood> NoiseSource<L> for Independent {
    type Noise = NoiseKey;

    fn fresh(&self, _likelihood: &L, key: NoiseKey) -> NoiseKey {
        key
    }
    fn moved(&self, _noise: &NoiseKey, key: NoiseKey) -> NoiseKey {
        key
    }
    fn estimate(likelihood: &L, x: &[f64], &key: &NoiseKey) -> Result<LogEstimate, EvalError> {
        likelihood.estimate(x, key)
    }
    fn variance_of_ratio(&self, standard_error: Option<f64>) -> Option<f64> {
        standard_error.map(|error| 2.0 * error * error)
    }
}

/// A random walk over points and noise together.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct PseudoMarginalKernel<S> {
    walk: RandomWalk,
    thinning: usize,
    source: S,
    noise: NoiseLevel,
}

#[derive(Serialize, Deserialize)]
pub(super) struct PseudoMarginalState<N> {
    z: Vec<f64>,
    /// The estimate that was accepted.
    log_density: f64,
    standard_error: Option<f64>,
    noise: N,
    /// Where the chain began, and the estimate there under the target's own key.
    start: (Vec<f64>, f64),
}

impl<S> Walks for PseudoMarginalKernel<S> {
    fn walk(&mut self) -> &mut RandomWalk {
        &mut self.walk
    }
}

impl<L: StochasticLikelihood, S: NoiseSource<L>> Kernel<Target<'_, L>> for PseudoMarginalKernel<S> {
    type State = PseudoMarginalState<S::Noise>;

    fn init(
        &mut self,
        target: &Counted<'_, Target<'_, L>>,
        z: Vec<f64>,
        _rng: &mut Stream,
    ) -> Result<Self::State, EvalError> {
        let noise = self
            .source
            .fresh(target.target().likelihood(), target.target().key());
        let estimated = target.estimate(&z, |likelihood, x| S::estimate(likelihood, x, &noise))?;
        Ok(PseudoMarginalState {
            start: (z.clone(), estimated.log_density),
            z,
            log_density: estimated.log_density,
            standard_error: estimated.standard_error,
            noise,
        })
    }

    fn step(
        &self,
        target: &Counted<'_, Target<'_, L>>,
        state: &mut Self::State,
        rng: &mut Stream,
    ) -> Result<Step, EvalError> {
        let mut report = Step {
            evaluations: self.thinning as u32,
            ..Step::default()
        };
        for _ in 0..self.thinning {
            let z = self.walk.propose(&state.z, rng);
            let noise = self.source.moved(&state.noise, NoiseKey::draw(rng));
            let uniform = rng.random::<f64>();
            let estimated = match target.estimate(&z, |likelihood, x| S::estimate(likelihood, x, &noise)) {
                Ok(estimated) => estimated,
                Err(EvalError::Recoverable(_)) => {
                    report.diverged = true;
                    continue;
                }
                Err(fatal) => return Err(fatal),
            };
            let acceptance = (estimated.log_density - state.log_density).exp().min(1.0);
            report.acceptance += acceptance / self.thinning as f64;
            if uniform < acceptance {
                state.z = z;
                state.log_density = estimated.log_density;
                state.standard_error = estimated.standard_error;
                state.noise = noise;
            }
        }
        Ok(report)
    }

    fn position(state: &Self::State) -> (&[f64], f64) {
        (&state.z, state.log_density)
    }

    fn witness(state: &Self::State) -> (&[f64], f64) {
        (&state.start.0, state.start.1)
    }

    fn step_size(&self) -> f64 {
        self.walk.scale
    }
}

impl<L: StochasticLikelihood, S: NoiseSource<L>> NoisyWalk<Target<'_, L>> for PseudoMarginalKernel<S> {
    fn noise(&mut self) -> &mut NoiseLevel {
        &mut self.noise
    }

    fn read_noise(
        &self,
        target: &Counted<'_, Target<'_, L>>,
        state: &Self::State,
        step: usize,
        rng: &mut Stream,
    ) -> Result<Option<f64>, EvalError> {
        let told = self.source.variance_of_ratio(state.standard_error);
        if told.is_some() || !step.is_multiple_of(READ_EVERY) {
            return Ok(told);
        }
        // Fresh noise, for the accepted estimate is a lucky one.
        let first = self
            .source
            .fresh(target.target().likelihood(), NoiseKey::draw(rng));
        let second = self.source.moved(&first, NoiseKey::draw(rng));
        let mut estimates = [0.0; 2];
        for (noise, out) in [first, second].iter().zip(&mut estimates) {
            let estimated = target.estimate(&state.z, |likelihood, x| S::estimate(likelihood, x, noise))?;
            *out = estimated.log_density;
        }
        Ok(Some((estimates[0] - estimates[1]).powi(2)))
    }
}

/// Settings common to pseudo-marginal methods.
pub(super) struct Settings {
    pub(super) method: &'static str,
    pub(super) target_acceptance: Option<f64>,
    pub(super) thinning: Option<usize>,
    /// The standard deviation of the log ratio above which the run warns, and the best one.
    pub(super) worst: f64,
    pub(super) best: f64,
}

/// Runs the chains of any pseudo-marginal method.
pub(super) fn run_pseudo_marginal<L: StochasticLikelihood, S: NoiseSource<L>>(
    settings: &Settings,
    shown: &impl std::fmt::Debug,
    source: S,
    posterior: &NoisyPosterior<L>,
    options: &RunOptions,
) -> Result<Run, SampleError> {
    let target = Target::new(posterior, options.seed);
    let dim = target.dim();
    let acceptance = target_acceptance(settings.target_acceptance, dim)?;
    let kernel = PseudoMarginalKernel {
        walk: RandomWalk::new(dim),
        thinning: thinning(settings.thinning, dim)?,
        source,
        noise: NoiseLevel::default(),
    };
    let adaptation = AdaptiveNoisyWalk::new(acceptance, dim, options.warmup);
    let (mut run, kernels) = run_kernels(settings.method, shown, &target, options, kernel, adaptation)?;
    run.warnings.extend(target.warn_unless(
        Unbiased::Likelihood,
        "the draws are right only if the noise is as large at every point",
    ));
    let noise = overall(kernels.iter().map(|kernel| &kernel.noise));
    if let Some(sd) = noise.filter(|&sd| sd > settings.worst) {
        run.warnings.push(format!(
            "the noise of the log ratio of two estimates has a standard deviation of {sd:.2} near the posterior, and \
             a chain stayed at one point for {} draws: average more in each estimate, until it is about {}",
            longest_stay(&run),
            settings.best
        ));
    }
    Ok(run)
}

impl<L: StochasticLikelihood> Sampler<NoisyPosterior<L>> for PseudoMarginal {
    fn sample(&self, posterior: &NoisyPosterior<L>, options: &RunOptions) -> Result<Run, SampleError> {
        let settings = Settings {
            method: "pseudo-marginal Metropolis–Hastings",
            target_acceptance: self.target_acceptance,
            thinning: self.thinning,
            // 1.5 and 1.2 in one estimate, √2 times that in the ratio of two.
            worst: 1.5 * std::f64::consts::SQRT_2,
            best: 1.7,
        };
        run_pseudo_marginal(&settings, self, Independent, posterior, options)
    }
}
