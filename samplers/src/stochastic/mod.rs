//! Give the probability of the data as an estimate whose noise hangs on a key: `StochasticLikelihood`, and
//! `Frozen`, the plain likelihood it is under one key.

mod frozen;
mod key;

use crate::error::EvalError;
use crate::likelihood::Points;

pub use frozen::Frozen;
pub use key::NoiseKey;

/// An estimate of ln p(data | x), and what its author knows of its error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogEstimate {
    /// The estimate of ln p(data | x); `-inf` outside the support, or where no sample explains the data.
    pub log_likelihood: f64,
    /// The standard deviation of `log_likelihood` over keys, estimated from the same noise; `None` where
    /// the estimator cannot tell.
    pub standard_error: Option<f64>,
}

/// Which of the two an estimate is right for on average over keys. It cannot be both unless it is exact: by
/// Jensen's inequality the logarithm of an unbiased estimate is too small on average.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unbiased {
    /// p(data | x), as averages over importance samples or particles are: what pseudo-marginal methods need
    /// ([Andrieu & Roberts 2009](https://doi.org/10.1214/07-AOS574)).
    Likelihood,
    /// ln p(data | x) and its gradient, as sums over a random part of the data or a trace estimated with
    /// random probes are: what the penalty method
    /// ([Ceperley & Dewing 1999](https://arxiv.org/abs/physics/9812035)) and stochastic gradients need.
    LogLikelihood,
    /// Neither.
    Neither,
}

/// An estimate of ln p(data | x) for a point x in physical units, all its noise fixed by a key: the same x and
/// key give the same bits. `frozen` turns it into a plain [`Likelihood`](crate::Likelihood).
///
/// ```
/// use armilla_samplers::prelude::*;
/// use rand::RngExt;
/// use rand_distr::StandardNormal;
///
/// /// A measurement with error 1 of a star, itself scattered by 1 about the mean x of its cluster.
/// struct Star(f64);
///
/// impl StochasticLikelihood for Star {
///     fn dim(&self) -> usize { 1 }
///     fn unbiased(&self) -> Unbiased { Unbiased::Likelihood }
///     fn estimate(&self, x: &[f64], key: NoiseKey) -> Result<LogEstimate, EvalError> {
///         let mut rng = key.stream(0);
///         let sum: f64 = (0..100)
///             .map(|_| (-0.5 * (self.0 - x[0] - rng.sample::<f64, _>(StandardNormal)).powi(2)).exp())
///             .sum();
///         Ok(LogEstimate { log_likelihood: (sum / 100.0).ln(), standard_error: None })
///     }
/// }
///
/// let likelihood = Star(1.0).frozen(NoiseKey::new(3));
/// assert_eq!(likelihood.log_likelihood(&[0.5])?, likelihood.log_likelihood(&[0.5])?);
/// # Ok::<(), EvalError>(())
/// ```
pub trait StochasticLikelihood: Send + Sync {
    /// The number of parameters.
    fn dim(&self) -> usize;

    /// What the estimate is right for on average over keys.
    fn unbiased(&self) -> Unbiased;

    /// An estimate of ln p(data | x) with the noise of `key`.
    ///
    /// # Errors
    /// `Recoverable` where this point cannot be evaluated, `Fatal` where none can.
    fn estimate(&self, x: &[f64], key: NoiseKey) -> Result<LogEstimate, EvalError>;

    /// Many points at once, each with its key, into `out` (one estimate each). The default loops.
    ///
    /// # Errors
    /// As for one point; the first error ends the batch. `Fatal` where there are not as many keys and
    /// results as points.
    fn estimate_batch(
        &self,
        xs: Points<'_>,
        keys: &[NoiseKey],
        out: &mut [LogEstimate],
    ) -> Result<(), EvalError> {
        check_batch(xs, keys, out)?;
        for ((x, &key), out) in xs.iter().zip(keys).zip(out) {
            *out = self.estimate(x, key)?;
        }
        Ok(())
    }

    /// The deterministic likelihood that estimates with the noise of `key` at every point. A posterior made
    /// of it differs from the true one by that noise.
    fn frozen(self, key: NoiseKey) -> Frozen<Self>
    where
        Self: Sized,
    {
        Frozen::new(self, key)
    }
}

/// A stochastic likelihood that also estimates its gradient.
pub trait DifferentiableStochasticLikelihood: StochasticLikelihood {
    /// An estimate of ln p(data | x) with the noise of `key`, and the gradient in x of that very estimate,
    /// the key held, written to `gradient` (`dim()` numbers).
    ///
    /// # Errors
    /// As for `estimate`.
    fn estimate_and_gradient(
        &self,
        x: &[f64],
        key: NoiseKey,
        gradient: &mut [f64],
    ) -> Result<LogEstimate, EvalError>;

    /// Many points at once, each with its key: one estimate each, `dim()` derivatives each. The default
    /// loops.
    ///
    /// # Errors
    /// As for one point; the first error ends the batch. `Fatal` where there are not as many keys and
    /// results as points.
    fn estimate_and_gradient_batch(
        &self,
        xs: Points<'_>,
        keys: &[NoiseKey],
        out: &mut [LogEstimate],
        gradients: &mut [f64],
    ) -> Result<(), EvalError> {
        check_batch(xs, keys, out)?;
        if gradients.len() != xs.len() * xs.dim() {
            return Err(EvalError::Fatal(format!(
                "room for {} derivatives given, {} points have {} each",
                gradients.len(),
                xs.len(),
                xs.dim()
            )));
        }
        let points = xs.iter().zip(keys).zip(out.iter_mut());
        for (((x, &key), out), gradient) in points.zip(gradients.chunks_exact_mut(xs.dim())) {
            *out = self.estimate_and_gradient(x, key, gradient)?;
        }
        Ok(())
    }
}

/// A stochastic likelihood whose noise is a given number of standard normal variables u, which may be handed
/// in: estimates at neighbouring u are neighbours, so that a sampler that moves u a little at each step keeps
/// most of the noise of a proposal and its predecessor in common (Deligiannidis, Doucet & Pitt 2018,
/// [arXiv:1511.04992](https://arxiv.org/abs/1511.04992)). With such an estimator, `estimate` is
/// `estimate_with(x, &key.normals(self.noise_dim()))`.
pub trait CorrelatedLikelihood: StochasticLikelihood {
    /// How many standard normal variables an estimate takes.
    fn noise_dim(&self) -> usize;

    /// An estimate of ln p(data | x) with the noise `u` (`noise_dim()` numbers).
    ///
    /// # Errors
    /// As for `estimate`; `Fatal` where `u` has another length.
    fn estimate_with(&self, x: &[f64], u: &[f64]) -> Result<LogEstimate, EvalError>;
}

fn check_batch(xs: Points<'_>, keys: &[NoiseKey], out: &[LogEstimate]) -> Result<(), EvalError> {
    if keys.len() != xs.len() || out.len() != xs.len() {
        return Err(EvalError::Fatal(format!(
            "{} keys and room for {} estimates given for {} points",
            keys.len(),
            out.len(),
            xs.len()
        )));
    }
    Ok(())
}

macro_rules! forward_to_pointee {
    ($($pointer:ty),*) => {$(
        impl<L: StochasticLikelihood + ?Sized> StochasticLikelihood for $pointer {
            fn dim(&self) -> usize {
                (**self).dim()
            }
            fn unbiased(&self) -> Unbiased {
                (**self).unbiased()
            }
            fn estimate(&self, x: &[f64], key: NoiseKey) -> Result<LogEstimate, EvalError> {
                (**self).estimate(x, key)
            }
            fn estimate_batch(
                &self,
                xs: Points<'_>,
                keys: &[NoiseKey],
                out: &mut [LogEstimate],
            ) -> Result<(), EvalError> {
                (**self).estimate_batch(xs, keys, out)
            }
        }
        impl<L: DifferentiableStochasticLikelihood + ?Sized> DifferentiableStochasticLikelihood for $pointer {
            fn estimate_and_gradient(
                &self,
                x: &[f64],
                key: NoiseKey,
                gradient: &mut [f64],
            ) -> Result<LogEstimate, EvalError> {
                (**self).estimate_and_gradient(x, key, gradient)
            }
            fn estimate_and_gradient_batch(
                &self,
                xs: Points<'_>,
                keys: &[NoiseKey],
                out: &mut [LogEstimate],
                gradients: &mut [f64],
            ) -> Result<(), EvalError> {
                (**self).estimate_and_gradient_batch(xs, keys, out, gradients)
            }
        }
        impl<L: CorrelatedLikelihood + ?Sized> CorrelatedLikelihood for $pointer {
            fn noise_dim(&self) -> usize {
                (**self).noise_dim()
            }
            fn estimate_with(&self, x: &[f64], u: &[f64]) -> Result<LogEstimate, EvalError> {
                (**self).estimate_with(x, u)
            }
        }
    )*};
}
forward_to_pointee!(&L, Box<L>, std::sync::Arc<L>);

#[cfg(test)]
mod tests;
