//! Raise a likelihood to a power.

use super::{DifferentiableLikelihood, Likelihood, Points};
use crate::error::{EvalError, SampleError};

/// A likelihood to a power, made by [`Likelihood::tempered`].
#[derive(Debug, Clone)]
pub struct Tempered<L> {
    likelihood: L,
    beta: f64,
}

impl<L: Likelihood> Tempered<L> {
    pub(super) fn new(likelihood: L, beta: f64) -> Result<Self, SampleError> {
        if !beta.is_finite() || beta < 0.0 {
            return Err(SampleError::Invalid(format!(
                "the power {beta} of a likelihood: give a finite one, 0 or more"
            )));
        }
        Ok(Self { likelihood, beta })
    }
}

impl<L> Tempered<L> {
    /// The likelihood to the power 1.
    pub fn likelihood(&self) -> &L {
        &self.likelihood
    }

    /// The power.
    pub fn beta(&self) -> f64 {
        self.beta
    }

    /// 0 times −inf is no number, but outside the support stays outside.
    fn scale(&self, value: f64) -> f64 {
        if value == f64::NEG_INFINITY {
            value
        } else {
            self.beta * value
        }
    }
}

impl<L: Likelihood> Likelihood for Tempered<L> {
    fn dim(&self) -> usize {
        self.likelihood.dim()
    }

    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        Ok(self.scale(self.likelihood.log_likelihood(x)?))
    }

    fn log_likelihood_batch(&self, xs: Points<'_>, out: &mut [f64]) -> Result<(), EvalError> {
        self.likelihood.log_likelihood_batch(xs, out)?;
        out.iter_mut().for_each(|value| *value = self.scale(*value));
        Ok(())
    }
}

impl<L: DifferentiableLikelihood> DifferentiableLikelihood for Tempered<L> {
    fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        let value = self.likelihood.value_and_gradient(x, gradient)?;
        gradient
            .iter_mut()
            .for_each(|derivative| *derivative *= self.beta);
        Ok(self.scale(value))
    }

    fn value_and_gradient_batch(
        &self,
        xs: Points<'_>,
        values: &mut [f64],
        gradients: &mut [f64],
    ) -> Result<(), EvalError> {
        self.likelihood.value_and_gradient_batch(xs, values, gradients)?;
        values.iter_mut().for_each(|value| *value = self.scale(*value));
        gradients
            .iter_mut()
            .for_each(|derivative| *derivative *= self.beta);
        Ok(())
    }
}
