//! Expect a positive number within a factor.

use std::f64::consts::TAU;

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::{Support, Univariate, is_positive, nothing, require};
use crate::error::SampleError;
use crate::normal_quantile::normal_quantile;
use crate::number::Number;

/// A number on (0, ∞) whose logarithm is normal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogNormal<N = f64> {
    mean: N,
    sd: N,
}

impl LogNormal {
    /// With the mean and the standard deviation of ln x.
    ///
    /// # Errors
    /// `SampleError::Invalid` where either is not finite or `sd` is not positive.
    pub fn new(mean: f64, sd: f64) -> Result<Self, SampleError> {
        require(mean.is_finite() && is_positive(sd), || {
            format!("LogNormal({mean}, {sd}): give a finite mean and a positive standard deviation of ln x")
        })?;
        Ok(Self::of(mean, sd))
    }
}

impl<N: Number> LogNormal<N> {
    /// Unchecked, for parameters that are themselves unknown.
    #[inline]
    pub fn of(mean: impl Into<N>, sd: impl Into<N>) -> Self {
        Self {
            mean: mean.into(),
            sd: sd.into(),
        }
    }
}

impl<N: Number> Univariate for LogNormal<N> {
    type Number = N;

    #[inline]
    fn ln_density<X: Number + From<N>>(&self, x: X) -> X {
        if x.value() <= 0.0 {
            return nothing();
        }
        let ln = x.ln();
        let u = (ln - X::from(self.mean)) / X::from(self.sd);
        u.square() * -0.5 - ln - X::from(self.sd.ln()) - 0.5 * TAU.ln()
    }
    fn support(&self) -> Support<N> {
        Support::Above(N::from(0.0))
    }
    fn quantile(&self, p: f64) -> f64 {
        (self.mean.value() + self.sd.value() * normal_quantile(p)).exp()
    }
    fn sample(&self, rng: &mut dyn Rng) -> f64 {
        (self.mean.value() + self.sd.value() * rng.sample::<f64, _>(StandardNormal)).exp()
    }
}
