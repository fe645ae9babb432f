//! See a stochastic likelihood as a deterministic one by holding its key.

use super::{DifferentiableStochasticLikelihood, LogEstimate, NoiseKey, StochasticLikelihood};
use crate::error::EvalError;
use crate::likelihood::{DifferentiableLikelihood, Likelihood, Points};

/// A stochastic likelihood with the noise of one key at every point, made by
/// [`StochasticLikelihood::frozen`]. It is differentiable where the estimate is.
#[derive(Debug, Clone)]
pub struct Frozen<L> {
    likelihood: L,
    key: NoiseKey,
}

impl<L> Frozen<L> {
    pub(super) fn new(likelihood: L, key: NoiseKey) -> Self {
        Self { likelihood, key }
    }

    /// The likelihood whose noise is frozen.
    pub fn likelihood(&self) -> &L {
        &self.likelihood
    }

    /// The key that is held.
    pub fn key(&self) -> NoiseKey {
        self.key
    }
}

/// The key for each of `n` points, and room for their estimates.
fn prepare(key: NoiseKey, n: usize) -> (Vec<NoiseKey>, Vec<LogEstimate>) {
    let nothing = LogEstimate {
        log_likelihood: f64::NAN,
        standard_error: None,
    };
    (vec![key; n], vec![nothing; n])
}

/// One value for each estimate.
fn copy_values(estimates: &[LogEstimate], values: &mut [f64]) -> Result<(), EvalError> {
    if values.len() != estimates.len() {
        return Err(EvalError::Fatal(format!(
            "room for {} values given for {} points",
            values.len(),
            estimates.len()
        )));
    }
    for (estimate, value) in estimates.iter().zip(values) {
        *value = estimate.log_likelihood;
    }
    Ok(())
}

impl<L: StochasticLikelihood> Likelihood for Frozen<L> {
    fn dim(&self) -> usize {
        self.likelihood.dim()
    }

    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        Ok(self.likelihood.estimate(x, self.key)?.log_likelihood)
    }

    fn log_likelihood_batch(&self, xs: Points<'_>, out: &mut [f64]) -> Result<(), EvalError> {
        let (keys, mut estimates) = prepare(self.key, xs.len());
        self.likelihood.estimate_batch(xs, &keys, &mut estimates)?;
        copy_values(&estimates, out)
    }
}

impl<L: DifferentiableStochasticLikelihood> DifferentiableLikelihood for Frozen<L> {
    fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        let estimate = self.likelihood.estimate_and_gradient(x, self.key, gradient)?;
        Ok(estimate.log_likelihood)
    }

    fn value_and_gradient_batch(
        &self,
        xs: Points<'_>,
        values: &mut [f64],
        gradients: &mut [f64],
    ) -> Result<(), EvalError> {
        let (keys, mut estimates) = prepare(self.key, xs.len());
        self.likelihood
            .estimate_and_gradient_batch(xs, &keys, &mut estimates, gradients)?;
        copy_values(&estimates, values)
    }
}
