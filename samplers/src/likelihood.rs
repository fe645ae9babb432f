//! Give the probability of the data at a point, with or without its gradient.

use crate::error::EvalError;

/// Several points of equal dimension, one after the other in memory.
#[derive(Debug, Clone, Copy)]
pub struct Points<'a> {
    data: &'a [f64],
    dim: usize,
}

impl<'a> Points<'a> {
    /// Views `data` as `data.len() / dim` points.
    ///
    /// # Errors
    /// `EvalError::Fatal` where `dim` is 0 or does not divide the length.
    pub fn new(data: &'a [f64], dim: usize) -> Result<Self, EvalError> {
        if dim == 0 || !data.len().is_multiple_of(dim) {
            return Err(EvalError::Fatal(format!(
                "{} numbers are not a whole number of points of dimension {dim}",
                data.len()
            )));
        }
        Ok(Self { data, dim })
    }

    /// How many points there are.
    pub fn len(&self) -> usize {
        self.data.len() / self.dim
    }

    /// Whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Numbers per point.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The points in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [f64]> {
        self.data.chunks_exact(self.dim)
    }
}

/// ln p(data | x) for a point x in physical units. Deterministic: the same x gives the same bits.
pub trait Likelihood: Send + Sync {
    /// The number of parameters.
    fn dim(&self) -> usize;

    /// ln p(data | x); `-inf` outside the support.
    ///
    /// # Errors
    /// `Recoverable` where this point cannot be evaluated, `Fatal` where none can.
    fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError>;

    /// Many points at once, into `out` (one number each). The default loops.
    ///
    /// # Errors
    /// As for one point; the first error ends the batch.
    fn log_likelihood_batch(&self, xs: Points<'_>, out: &mut [f64]) -> Result<(), EvalError> {
        for (x, o) in xs.iter().zip(out) {
            *o = self.log_likelihood(x)?;
        }
        Ok(())
    }
}

/// A likelihood that knows its gradient. Value and gradient come together: the gradient alone is
/// never what a sampler needs.
pub trait DifferentiableLikelihood: Likelihood {
    /// ln p(data | x) and its gradient in x, written to `gradient` (`dim()` numbers).
    ///
    /// # Errors
    /// As for `log_likelihood`.
    fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError>;

    /// Many points at once: one value each, `dim()` derivatives each. The default loops.
    ///
    /// # Errors
    /// As for one point; the first error ends the batch.
    fn value_and_gradient_batch(
        &self,
        xs: Points<'_>,
        values: &mut [f64],
        gradients: &mut [f64],
    ) -> Result<(), EvalError> {
        let points = xs.iter().zip(values).zip(gradients.chunks_exact_mut(xs.dim()));
        for ((x, value), gradient) in points {
            *value = self.value_and_gradient(x, gradient)?;
        }
        Ok(())
    }
}

macro_rules! forward_to_pointee {
    ($($pointer:ty),*) => {$(
        impl<L: Likelihood + ?Sized> Likelihood for $pointer {
            fn dim(&self) -> usize {
                (**self).dim()
            }
            fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
                (**self).log_likelihood(x)
            }
            fn log_likelihood_batch(&self, xs: Points<'_>, out: &mut [f64]) -> Result<(), EvalError> {
                (**self).log_likelihood_batch(xs, out)
            }
        }
        impl<L: DifferentiableLikelihood + ?Sized> DifferentiableLikelihood for $pointer {
            fn value_and_gradient(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
                (**self).value_and_gradient(x, gradient)
            }
            fn value_and_gradient_batch(
                &self,
                xs: Points<'_>,
                values: &mut [f64],
                gradients: &mut [f64],
            ) -> Result<(), EvalError> {
                (**self).value_and_gradient_batch(xs, values, gradients)
            }
        }
    )*};
}
forward_to_pointee!(&L, Box<L>, std::sync::Arc<L>);
