//! Expect a positive number of a scale, or well beyond.

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

use super::{Support, Univariate, check_scale, ln_one_plus_square, nothing};
use crate::error::SampleError;
use crate::number::Number;

/// p(x) = 2 / (π scale (1 + (x / scale)²)) on [0, ∞).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HalfCauchy<N = f64> {
    scale: N,
}

impl HalfCauchy {
    /// With this scale, which is the median.
    ///
    /// # Errors
    /// `SampleError::Invalid` where `scale` is not positive and finite.
    pub fn new(scale: f64) -> Result<Self, SampleError> {
        check_scale("HalfCauchy", "scale", scale)?;
        Ok(Self { scale })
    }
}

impl<N: Number> HalfCauchy<N> {
    /// Unchecked, for a scale that is itself unknown.
    #[inline]
    pub fn of(scale: impl Into<N>) -> Self {
        Self { scale: scale.into() }
    }
}

impl<N: Number> Univariate for HalfCauchy<N> {
    type Number = N;

    #[inline(always)]
    fn ln_density<X: Number + From<N>>(&self, x: X) -> X {
        if x.value() < 0.0 {
            return nothing();
        }
        -ln_one_plus_square(x / X::from(self.scale)) - X::from(self.scale.ln()) + FRAC_2_PI.ln()
    }
    fn support(&self) -> Support<N> {
        Support::Above(N::from(0.0))
    }
    fn quantile(&self, p: f64) -> f64 {
        // tan(π p / 2), from the side that has the digits.
        let ratio = if p < 0.5 {
            (FRAC_PI_2 * p).tan()
        } else {
            (FRAC_PI_2 * (1.0 - p)).tan().recip()
        };
        self.scale.value() * ratio
    }
}
