//! Count events that happen at a rate.

use rand::Rng;

use super::{Support, Univariate, draw, is_count, is_positive, nothing, require, times};
use crate::error::SampleError;
use crate::number::Number;

/// P(k) = rate^k e^(−rate) / k!, for data.
///
/// ```
/// use armilla_samplers::distribution::{Poisson, Univariate};
/// let ln_probability = Poisson::new(3.0)?.ln_density(2.0);
/// assert!((ln_probability - (4.5 * (-3f64).exp()).ln()).abs() < 1e-14);
/// # Ok::<(), armilla_samplers::SampleError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Poisson<N = f64> {
    rate: N,
    ln_rate: N,
}

impl Poisson {
    /// With this mean.
    ///
    /// # Errors
    /// `SampleError::Invalid` where `rate` is not positive and finite.
    pub fn new(rate: f64) -> Result<Self, SampleError> {
        require(is_positive(rate), || {
            format!("Poisson({rate}): give a positive rate")
        })?;
        Ok(Self::of(rate))
    }
}

impl<N: Number> Poisson<N> {
    /// Unchecked, for a rate that is itself unknown.
    #[inline]
    pub fn of(rate: impl Into<N>) -> Self {
        let rate = rate.into();
        Self {
            rate,
            ln_rate: rate.ln(),
        }
    }

    /// Given by the logarithm of the rate, as in a regression.
    #[inline]
    pub fn of_ln(ln_rate: impl Into<N>) -> Self {
        let ln_rate = ln_rate.into();
        Self {
            rate: ln_rate.exp(),
            ln_rate,
        }
    }
}

impl<N: Number> Univariate for Poisson<N> {
    type Number = N;

    #[inline]
    fn ln_density<X: Number + From<N>>(&self, x: X) -> X {
        let k = x.value();
        if !is_count(k) {
            return nothing();
        }
        X::from(times(k, self.ln_rate) - self.rate - Number::ln_gamma(k + 1.0))
    }
    fn support(&self) -> Support<N> {
        Support::Real
    }
    fn quantile(&self, _p: f64) -> f64 {
        f64::NAN
    }
    fn sample(&self, rng: &mut dyn Rng) -> f64 {
        draw(rand_distr::Poisson::new(self.rate.value()), rng)
    }
}
