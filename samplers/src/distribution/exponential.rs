//! Expect a positive number, a waiting time for one event.

use super::{Support, Univariate, check_scale, nothing};
use crate::error::SampleError;
use crate::number::Number;

/// p(x) = rate e^(−rate x) on [0, ∞).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exponential<N = f64> {
    rate: N,
}

impl Exponential {
    /// With the mean 1 / rate.
    ///
    /// # Errors
    /// `SampleError::Invalid` where `rate` is not positive and finite.
    pub fn new(rate: f64) -> Result<Self, SampleError> {
        check_scale("Exponential", "rate", rate)?;
        Ok(Self::of(rate))
    }
}

impl<N: Number> Exponential<N> {
    /// Unchecked, for a rate that is itself unknown.
    #[inline]
    pub fn of(rate: impl Into<N>) -> Self {
        Self { rate: rate.into() }
    }
}

impl<N: Number> Univariate for Exponential<N> {
    type Number = N;

    #[inline]
    fn ln_density<X: Number + From<N>>(&self, x: X) -> X {
        if x.value() < 0.0 {
            return nothing();
        }
        X::from(self.rate.ln()) - x * X::from(self.rate)
    }
    fn support(&self) -> Support<N> {
        Support::Above(N::from(0.0))
    }
    fn quantile(&self, p: f64) -> f64 {
        -(-p).ln_1p() / self.rate.value()
    }
}
