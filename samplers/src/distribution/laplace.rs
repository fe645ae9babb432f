//! Expect a value, with exponential tails on both sides.

use std::f64::consts::LN_2;

use super::{Support, Univariate, is_positive, require};
use crate::error::SampleError;
use crate::number::Number;

/// p(x) = e^(−|x − location| / scale) / (2 scale).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Laplace<N = f64> {
    location: N,
    scale: N,
}

impl Laplace {
    /// With this median, and this mean distance from it.
    ///
    /// # Errors
    /// `SampleError::Invalid` where either is not finite or `scale` is not positive.
    pub fn new(location: f64, scale: f64) -> Result<Self, SampleError> {
        require(location.is_finite() && is_positive(scale), || {
            format!("Laplace({location}, {scale}): give a finite location and a positive scale")
        })?;
        Ok(Self::of(location, scale))
    }
}

impl<N: Number> Laplace<N> {
    /// Unchecked, for parameters that are themselves unknown.
    #[inline]
    pub fn of(location: impl Into<N>, scale: impl Into<N>) -> Self {
        Self {
            location: location.into(),
            scale: scale.into(),
        }
    }
}

impl<N: Number> Univariate for Laplace<N> {
    type Number = N;

    #[inline]
    fn ln_density<X: Number + From<N>>(&self, x: X) -> X {
        let u = (x - X::from(self.location)) / X::from(self.scale);
        -u.abs() - X::from(self.scale.ln()) - LN_2
    }
    fn support(&self) -> Support<N> {
        Support::Real
    }
    fn quantile(&self, p: f64) -> f64 {
        let u = if p < 0.5 {
            (2.0 * p).ln()
        } else {
            -(2.0 * (1.0 - p)).ln()
        };
        self.location.value() + self.scale.value() * u
    }
}
