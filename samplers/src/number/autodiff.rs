//! Differentiate a likelihood that is written once for any number.

use super::Number;
use super::gradient::{Differentiable, gradient};
use crate::error::EvalError;
use crate::likelihood::{DifferentiableLikelihood, Likelihood};

/// ln p(data | x), written once for any [`Number`]. [`AutoDiff`] makes a [`DifferentiableLikelihood`] of it.
pub trait GenericLikelihood: Send + Sync {
    /// The number of parameters.
    fn dim(&self) -> usize;

    /// ln p(data | x) at `x` (`dim()` numbers) in physical units; `-inf` outside the support.
    fn log_likelihood<N: Number>(&self, x: &[N]) -> N;
}

/// A likelihood whose gradient follows from its value: in one pass for up to 12 parameters, without
/// allocating, in one pass for each dozen beyond.
///
/// ```
/// use armilla_samplers::distribution::{Normal, Univariate};
/// use armilla_samplers::number::{AutoDiff, GenericLikelihood, Number};
/// use armilla_samplers::prelude::*;
///
/// /// Measurements of `mean` with an unknown error `sd`.
/// struct Measured(Vec<f64>);
///
/// impl GenericLikelihood for Measured {
///     fn dim(&self) -> usize {
///         2
///     }
///     fn log_likelihood<N: Number>(&self, x: &[N]) -> N {
///         let normal = Normal::<N>::of(x[0], x[1]);
///         self.0.iter().map(|&y| normal.ln_density(N::from(y))).sum()
///     }
/// }
///
/// let likelihood = AutoDiff(Measured(vec![1.0, 3.0]));
/// let mut gradient = [0.0; 2];
/// let value = likelihood.value_and_gradient(&[1.0, 2.0], &mut gradient)?;
/// assert!((value - likelihood.log_likelihood(&[1.0, 2.0])?).abs() < 1e-15);
/// assert_eq!(gradient, [0.5, -0.5]);
/// # Ok::<(), EvalError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutoDiff<F>(pub F);

impl<F: GenericLikelihood> Differentiable for AutoDiff<F> {
    #[inline]
    fn evaluate<N: Number>(&self, x: &[N]) -> N {
        self.0.log_likelihood(x)
    }
}

impl<F: GenericLikelihood> AutoDiff<F> {
    fn check_length(&self, given: usize) -> Result<(), EvalError> {
        let dim = self.0.dim();
        if given == dim {
            return Ok(());
        }
        let message = format!("{given} numbers given to a likelihood of {dim} parameters");
        Err(EvalError::Fatal(message))
    }
}

impl<F: GenericLikelihood> Likelihood for AutoDiff<F> {
    fn dim(&self) -> usize {
        self.0.dim()
    }
    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
        self.check_length(x.len())?;
        Ok(self.0.log_likelihood(x))
    }
}

impl<F: GenericLikelihood> DifferentiableLikelihood for AutoDiff<F> {
    fn value_and_gradient(&self, x: &[f64], derivatives: &mut [f64]) -> Result<f64, EvalError> {
        self.check_length(x.len())?;
        self.check_length(derivatives.len())?;
        Ok(gradient(self, x, derivatives))
    }
}
