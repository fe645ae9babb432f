//! Give the probability of the data at a point, with or without its gradient, and compose it of parts: `Sum`
//! over independent data, `Repeated` over observations of one kind, `Tempered` by a power, `Selected` from
//! the parameters of a larger model.

mod generative;
mod points;
mod repeated;
mod selected;
mod sum;
mod tempered;

use rand::Rng;

use crate::error::{EvalError, SampleError};
use crate::prior::Prior;

pub use generative::Generative;
pub use points::Points;
pub use repeated::Repeated;
pub use selected::Selected;
pub use sum::Sum;
pub use tempered::Tempered;

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

    /// The likelihood of this data and that of `other`, independent given the same parameters: the
    /// logarithms add up.
    ///
    /// ```
    /// use armilla_samplers::prelude::*;
    /// # struct Measured(f64);
    /// # impl Likelihood for Measured {
    /// #     fn dim(&self) -> usize { 1 }
    /// #     fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
    /// #         Ok(-0.5 * (x[0] - self.0).powi(2))
    /// #     }
    /// # }
    /// // `Measured(m)` is the likelihood −½ (x − m)².
    /// let both = Measured(1.0).and(Measured(3.0))?;
    /// assert_eq!(both.log_likelihood(&[2.0])?, -1.0);
    /// # Ok::<(), SampleError>(())
    /// ```
    ///
    /// # Errors
    /// `SampleError::Invalid` where the two do not take as many parameters; see [`Likelihood::on`].
    fn and<B: Likelihood>(self, other: B) -> Result<Sum<Self, B>, SampleError>
    where
        Self: Sized,
    {
        Sum::new(self, other)
    }

    /// The likelihood to the power `beta`: beta · ln p(data | x). 0 leaves the prior, 1 changes nothing,
    /// more counts the data several times. `-inf` stays `-inf`, also where `beta` is 0: the support stays.
    ///
    /// # Errors
    /// `SampleError::Invalid` where `beta` is negative or not finite.
    fn tempered(self, beta: f64) -> Result<Tempered<Self>, SampleError>
    where
        Self: Sized,
    {
        Tempered::new(self, beta)
    }

    /// This likelihood as one of all parameters of `prior`: its own are those called `names`, in its order.
    /// A name may stand for several of its parameters, which are then one; their derivatives add up.
    ///
    /// ```
    /// use armilla_samplers::prelude::*;
    /// # struct Difference;
    /// # impl Likelihood for Difference {
    /// #     fn dim(&self) -> usize { 2 }
    /// #     fn log_likelihood(&self, x: &[f64]) -> Result<f64, EvalError> {
    /// #         Ok(-0.5 * (x[0] - x[1] - 1.0).powi(2))
    /// #     }
    /// # }
    /// let prior = Prior::new()
    ///     .with("here", Uniform::new(0.0, 9.0)?)?
    ///     .with("slope", Uniform::new(0.0, 9.0)?)?
    ///     .with("there", Uniform::new(0.0, 9.0)?)?;
    /// // `Difference` takes two parameters: −½ (a − b − 1)².
    /// let likelihood = Difference.on(&prior, ["there", "here"])?;
    /// assert_eq!(likelihood.log_likelihood(&[2.0, 7.0, 3.0])?, 0.0);
    /// let posterior = Posterior::new(prior, likelihood)?;
    /// # Ok::<(), SampleError>(())
    /// ```
    ///
    /// # Errors
    /// `SampleError::Invalid` where `prior` has no such name, or the likelihood takes more or fewer.
    fn on<N: AsRef<str>>(
        self,
        prior: &Prior,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Selected<Self>, SampleError>
    where
        Self: Sized,
    {
        Selected::new(self, prior, names)
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
        impl<L: Generative + ?Sized> Generative for $pointer {
            fn simulate(&self, x: &[f64], rng: &mut dyn Rng) -> Result<Vec<f64>, EvalError> {
                (**self).simulate(x, rng)
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

#[cfg(test)]
mod tests;
