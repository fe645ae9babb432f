//! Compose a prior and a stochastic likelihood into a target for the samplers that bear noise.

use rand::Rng;

use super::{
    DifferentiableStochasticLikelihood, Frozen, LogEstimate, NoiseKey, StochasticLikelihood, Unbiased,
};
use crate::density::{Counted, Density, DifferentiableDensity};
use crate::error::{EvalError, SampleError};
use crate::likelihood::Likelihood;
use crate::posterior::Posterior;
use crate::prior::Prior;
use crate::run::Evaluations;

/// A likelihood that knows nothing: its posterior is the prior on the real line.
#[derive(Debug)]
struct Flat(usize);

impl Likelihood for Flat {
    fn dim(&self) -> usize {
        self.0
    }
    fn log_likelihood(&self, _x: &[f64]) -> Result<f64, EvalError> {
        Ok(0.0)
    }
}

/// p(x | data) ∝ p(data | x) p(x), where p(data | x) is known by noisy estimates only. It is no
/// [`Density`](crate::Density): samplers that would take the noise for truth do not compile with it.
///
/// ```
/// use armilla_samplers::prelude::*;
///
/// /// A measurement whose log likelihood is computed with an error of 0.3.
/// struct Noisy;
/// impl StochasticLikelihood for Noisy {
///     fn dim(&self) -> usize { 1 }
///     fn unbiased(&self) -> Unbiased { Unbiased::LogLikelihood }
///     fn estimate(&self, x: &[f64], key: NoiseKey) -> Result<LogEstimate, EvalError> {
///         let log_likelihood = -0.5 * ((x[0] - 3.0) / 0.5).powi(2) + 0.3 * key.normals(1)[0];
///         Ok(LogEstimate { log_likelihood, standard_error: Some(0.3) })
///     }
/// }
/// let prior = || Prior::new().with("mu", Uniform::new(0.0, 10.0)?);
/// let posterior = NoisyPosterior::new(prior()?, Noisy)?;
/// let run = Penalty::default().sample(&posterior, &RunOptions::default())?;
/// assert!((run.summary().parameters[0].mean - 3.0).abs() < 0.1);
/// # Ok::<(), SampleError>(())
/// ```
///
/// What does not know of noise does not take it:
///
/// ```compile_fail,E0277
/// # use armilla_samplers::prelude::*;
/// fn sample(posterior: &NoisyPosterior<Box<dyn StochasticLikelihood>>) -> Result<armilla_samplers::Run, SampleError> {
///     MetropolisHastings::default().sample(posterior, &RunOptions::default())
/// }
/// ```
#[derive(Debug)]
pub struct NoisyPosterior<L> {
    flat: Posterior<Flat>,
    likelihood: L,
}

impl<L: StochasticLikelihood> NoisyPosterior<L> {
    /// The posterior of the parameters of `prior` given what `likelihood` holds.
    ///
    /// # Errors
    /// `SampleError::Invalid` where there are no parameters, or not as many as the likelihood takes.
    pub fn new(prior: Prior, likelihood: L) -> Result<Self, SampleError> {
        let flat = Posterior::new(prior, Flat(likelihood.dim()))?;
        Ok(Self { flat, likelihood })
    }

    /// The prior.
    pub fn prior(&self) -> &Prior {
        self.flat.prior()
    }

    /// The likelihood.
    pub fn likelihood(&self) -> &L {
        &self.likelihood
    }

    /// The deterministic posterior under the noise of `key`, for any sampler. It differs from the true one by
    /// that noise: repeat with several keys to see by how much.
    ///
    /// # Errors
    /// As `new`.
    pub fn frozen(&self, key: NoiseKey) -> Result<Posterior<Frozen<&L>>, SampleError> {
        Posterior::new(self.prior().clone(), (&self.likelihood).frozen(key))
    }

    /// The physical point at `z`: parameters, then quantities kept with them.
    fn physical(&self, z: &[f64]) -> Vec<f64> {
        let mut x = vec![0.0; self.flat.names().len()];
        self.flat.to_physical(z, &mut x);
        x
    }

    fn estimate(
        &self,
        z: &[f64],
        estimate: impl FnOnce(&L, &[f64]) -> Result<LogEstimate, EvalError>,
    ) -> Result<Estimated, EvalError> {
        let log_prior = self.flat.log_density(z)?;
        if log_prior == f64::NEG_INFINITY {
            return Ok(Estimated {
                log_density: log_prior,
                standard_error: Some(0.0),
            });
        }
        let x = self.physical(z);
        let LogEstimate {
            log_likelihood,
            standard_error,
        } = estimate(&self.likelihood, &x[..self.likelihood.dim()])?;
        if log_likelihood.is_nan() || log_likelihood == f64::INFINITY {
            let pairs = self.flat.names().iter().zip(&x);
            let at: Vec<String> = pairs.map(|(name, x)| format!("{name} = {x}")).collect();
            return Err(EvalError::Recoverable(format!(
                "the estimate of the log likelihood is {log_likelihood} at {}",
                at.join(", ")
            )));
        }
        Ok(Estimated {
            log_density: log_prior + log_likelihood,
            standard_error,
        })
    }
}

/// An estimate of the log density in z.
#[derive(Debug, Clone, Copy)]
pub(super) struct Estimated {
    pub(super) log_density: f64,
    pub(super) standard_error: Option<f64>,
}

/// What the engine sees of a noisy posterior: its parameters, and a log density under one key, by which a
/// resumed run recognises its target and chains find their start. It never leaves this folder, so that no
/// other sampler meets it.
///
/// All other keys are drawn from the stream of the chain, which seed and chain number fix and whose position
/// is saved with the state: noise is the same on any number of threads, and after a resumption.
pub(super) struct Target<'a, L> {
    posterior: &'a NoisyPosterior<L>,
    key: NoiseKey,
}

impl<'a, L: StochasticLikelihood> Target<'a, L> {
    pub(super) fn new(posterior: &'a NoisyPosterior<L>, seed: u64) -> Self {
        Self {
            posterior,
            key: NoiseKey::new(seed),
        }
    }

    /// The key that chains start with.
    pub(super) fn key(&self) -> NoiseKey {
        self.key
    }

    pub(super) fn likelihood(&self) -> &'a L {
        &self.posterior.likelihood
    }

    /// What to say where a method needs estimates of another kind.
    pub(super) fn warn_unless(&self, needed: Unbiased, consequence: &str) -> Option<String> {
        let kind = match self.likelihood().unbiased() {
            found if found == needed => return None,
            Unbiased::Likelihood => "of the likelihood",
            Unbiased::LogLikelihood => "of the log likelihood",
            Unbiased::Neither => "of neither the likelihood nor its logarithm",
        };
        Some(format!("the estimates are unbiased ones {kind}: {consequence}"))
    }
}

impl<L: StochasticLikelihood> Density for Target<'_, L> {
    fn dim(&self) -> usize {
        self.posterior.flat.dim()
    }
    fn names(&self) -> &[String] {
        self.posterior.flat.names()
    }
    fn log_density(&self, z: &[f64]) -> Result<f64, EvalError> {
        let estimate = |likelihood: &L, x: &[f64]| likelihood.estimate(x, self.key);
        Ok(self.posterior.estimate(z, estimate)?.log_density)
    }
    fn to_physical(&self, z: &[f64], x: &mut [f64]) {
        self.posterior.flat.to_physical(z, x);
    }
    fn ln_jacobian(&self, z: &[f64]) -> f64 {
        self.posterior.flat.ln_jacobian(z)
    }
    fn initial(&self, rng: &mut dyn Rng) -> Vec<f64> {
        self.posterior.flat.initial(rng)
    }
}

impl<'a, L: StochasticLikelihood> Counted<'_, Target<'a, L>> {
    /// The log density at `z` with the likelihood that `estimate` estimates; `-inf` outside the support of the
    /// prior, where it is not asked.
    ///
    /// # Errors
    /// As the likelihood; `Recoverable` where the estimate is NaN or +inf.
    pub(super) fn estimate(
        &self,
        z: &[f64],
        estimate: impl FnOnce(&L, &[f64]) -> Result<LogEstimate, EvalError>,
    ) -> Result<Estimated, EvalError> {
        self.target().posterior.estimate(z, |likelihood, x| {
            self.count(Evaluations {
                values: 1,
                gradients: 0,
            });
            estimate(likelihood, x)
        })
    }
}

impl<L: DifferentiableStochasticLikelihood> Counted<'_, Target<'_, L>> {
    /// The log density at `z` under `key`, and its gradient in z.
    ///
    /// # Errors
    /// As the likelihood; `Recoverable` where the estimate or a derivative is no number.
    pub(super) fn estimate_and_gradient(
        &self,
        z: &[f64],
        key: NoiseKey,
        gradient: &mut [f64],
    ) -> Result<f64, EvalError> {
        self.count(Evaluations {
            values: 0,
            gradients: 1,
        });
        // Composed as `new` has done already: it cannot fail.
        let frozen = self.target().posterior.frozen(key);
        let frozen = frozen.map_err(|error| EvalError::Fatal(error.to_string()))?;
        frozen.value_and_gradient(z, gradient)
    }
}
