//! Treat all values between two bounds alike.

use super::{Support, Univariate, check_bounds, nothing};
use crate::error::SampleError;
use crate::number::Number;

/// p(x) = 1 / (high − low) on [low, high].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Uniform<N = f64> {
    low: N,
    high: N,
}

impl Uniform {
    /// Between `low` and `high`.
    ///
    /// # Errors
    /// `SampleError::Invalid` where the bounds are not finite or not in order.
    pub fn new(low: f64, high: f64) -> Result<Self, SampleError> {
        check_bounds("Uniform", low, high)?;
        Ok(Self { low, high })
    }
}

impl<N: Number> Uniform<N> {
    /// Unchecked, for bounds that are themselves unknown.
    #[inline]
    pub fn of(low: impl Into<N>, high: impl Into<N>) -> Self {
        Self {
            low: low.into(),
            high: high.into(),
        }
    }
}

impl<N: Number> Univariate for Uniform<N> {
    type Number = N;

    #[inline]
    fn ln_density<X: Number + From<N>>(&self, x: X) -> X {
        if self.low.value() <= x.value() && x.value() <= self.high.value() {
            X::from(-(self.high - self.low).ln())
        } else {
            nothing()
        }
    }
    fn support(&self) -> Support<N> {
        Support::Between(self.low, self.high)
    }
    fn quantile(&self, p: f64) -> f64 {
        let (low, high) = (self.low.value(), self.high.value());
        (low + p * (high - low)).max(low).min(high)
    }
}
