//! Treat all factors between two positive bounds alike.

use super::{Support, Univariate, check_bounds, nothing, require};
use crate::error::SampleError;
use crate::number::Number;

/// p(x) = 1 / (x ln(high / low)) on [low, high].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogUniform<N = f64> {
    low: N,
    high: N,
}

impl LogUniform {
    /// Between `low` and `high`, both positive.
    ///
    /// # Errors
    /// `SampleError::Invalid` where the bounds are not positive, not finite or not in order.
    pub fn new(low: f64, high: f64) -> Result<Self, SampleError> {
        check_bounds("LogUniform", low, high)?;
        require(low > 0.0, || {
            format!("LogUniform({low}, {high}): the bounds must be positive")
        })?;
        Ok(Self { low, high })
    }
}

impl<N: Number> LogUniform<N> {
    /// Unchecked, for bounds that are themselves unknown.
    #[inline]
    pub fn of(low: impl Into<N>, high: impl Into<N>) -> Self {
        Self {
            low: low.into(),
            high: high.into(),
        }
    }
}

impl<N: Number> Univariate for LogUniform<N> {
    type Number = N;

    #[inline]
    fn ln_density<X: Number + From<N>>(&self, x: X) -> X {
        if self.low.value() <= x.value() && x.value() <= self.high.value() {
            -x.ln() - X::from((self.high.ln() - self.low.ln()).ln())
        } else {
            nothing()
        }
    }
    fn support(&self) -> Support<N> {
        Support::Decades(self.low, self.high)
    }
    fn quantile(&self, p: f64) -> f64 {
        let (low, high) = (self.low.value(), self.high.value());
        (low.ln() + p * (high.ln() - low.ln())).exp().max(low).min(high)
    }
}
