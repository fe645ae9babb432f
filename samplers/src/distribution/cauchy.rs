//! Expect a value, or one far from it.

use std::f64::consts::PI;

use super::{Support, Univariate, is_positive, ln_one_plus_square, require};
use crate::error::SampleError;
use crate::number::Number;

/// p(x) = 1 / (π scale (1 + ((x − location) / scale)²)). It has no mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cauchy<N = f64> {
    location: N,
    scale: N,
}

impl Cauchy {
    /// With this median, and this distance from it to the quartiles.
    ///
    /// # Errors
    /// `SampleError::Invalid` where either is not finite or `scale` is not positive.
    pub fn new(location: f64, scale: f64) -> Result<Self, SampleError> {
        require(location.is_finite() && is_positive(scale), || {
            format!("Cauchy({location}, {scale}): give a finite location and a positive scale")
        })?;
        Ok(Self::of(location, scale))
    }
}

impl<N: Number> Cauchy<N> {
    /// Unchecked, for parameters that are themselves unknown.
    #[inline]
    pub fn of(location: impl Into<N>, scale: impl Into<N>) -> Self {
        Self {
            location: location.into(),
            scale: scale.into(),
        }
    }
}

impl<N: Number> Univariate for Cauchy<N> {
    type Number = N;

    #[inline]
    fn ln_density<X: Number + From<N>>(&self, x: X) -> X {
        let u = (x - X::from(self.location)) / X::from(self.scale);
        -ln_one_plus_square(u) - X::from(self.scale.ln()) - PI.ln()
    }
    fn support(&self) -> Support<N> {
        Support::Real
    }
    fn quantile(&self, p: f64) -> f64 {
        // −cot(π p), from the tail that has the digits.
        let tail = |p: f64| -(PI * p).tan().recip();
        let u = if p < 0.25 {
            tail(p)
        } else if p <= 0.75 {
            (PI * (p - 0.5)).tan()
        } else {
            -tail(1.0 - p)
        };
        self.location.value() + self.scale.value() * u
    }
}
